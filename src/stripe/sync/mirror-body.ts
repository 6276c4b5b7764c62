import { toTimestamp } from '../../http/common-schemas.ts'
import type { ColumnType } from './mirror-column.ts'
import type { StoredMirrorRow } from './mirror-store.ts'
import type { StripeResource } from './stripe-resource.ts'
import { withoutClientSecrets } from './without-client-secrets.ts'

/** What the API shows of a mirrored object. */
export type MirrorBody = {
  id: string
  object: string
  livemode: boolean | null
  as_of: string
  deleted_at: string | null
  created: string | null
  metadata: unknown
  data: { [member: string]: unknown }
} & { [column: string]: unknown }

/** True for decimals that Stripe sends as text because a number of JSON may be rounded. */
export function isExact(column: string): boolean {
  return column.endsWith('_decimal')
}

function shown(name: string, type: ColumnType, value: unknown): unknown {
  if (value instanceof Date) return toTimestamp(value)
  if (type === 'numeric' && typeof value === 'string') return isExact(name) ? value : Number(value)
  return type === 'jsonb' ? withoutClientSecrets(value) : value
}

/** The row of a mirror table as the API shows it. */
export function toMirrorBody(
  resource: Pick<StripeResource, 'columns' | 'objects'>,
  row: StoredMirrorRow,
): MirrorBody {
  const typed = Object.entries(resource.columns).map(
    ([name, { type }]) => [name, shown(name, type, row[name])] as const,
  )
  return {
    id: row.id,
    object: row.data.object ?? resource.objects[0] ?? '',
    livemode: row.livemode,
    as_of: toTimestamp(row.as_of),
    deleted_at: toTimestamp(row.deleted_at),
    // The epoch stands for a time that is not known.
    created: row.created.getTime() === 0 ? null : toTimestamp(row.created),
    ...Object.fromEntries(typed),
    metadata: row.metadata,
    data: withoutClientSecrets(row.data),
  }
}

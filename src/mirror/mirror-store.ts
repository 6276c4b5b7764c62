import type { Knex } from 'knex'
import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import { type StripeResource, tableOf } from './stripe-resource.ts'

type TableShape = Pick<StripeResource, 'name' | 'columns'>

/** A row of a mirror table. Decimals are text, because a JavaScript number can round them. */
export type StoredMirrorRow = {
  id: string
  created: Date
  livemode: boolean | null
  metadata: unknown
  data: StripeObject
  as_of: Date
  deleted_at: Date | null
} & { [column: string]: unknown }

export type MirrorFilter = {
  /** Typed columns and the values that they must have. */
  equal: { readonly [column: string]: unknown }
  createdAfter?: Date | undefined
  createdBefore?: Date | undefined
  includeDeleted: boolean
}

const COMMON_COLUMNS = [
  'id',
  'created',
  'livemode',
  'metadata',
  'data',
  'as_of',
  'deleted_at',
] as const

function selectedColumns(trx: Tx, { columns }: TableShape): (string | Knex.Raw)[] {
  const typed = Object.entries(columns).map(([name, { type }]) =>
    type === 'numeric' ? trx.raw('??::text as ??', [name, name]) : name,
  )
  return [...COMMON_COLUMNS, ...typed]
}

/** One page of the mirrored objects of a resource, newest first by Stripe's `created`. */
export function listMirroredObjects(
  trx: Tx,
  resource: TableShape,
  conferenceId: string,
  filter: MirrorFilter,
  page: PageQuery,
): Promise<Page<StoredMirrorRow>> {
  const { equal, createdAfter, createdBefore, includeDeleted } = filter
  const query = trx(tableOf(resource)).where({ conference_id: conferenceId }).where(equal)
  if (!includeDeleted) void query.whereNull('deleted_at')
  if (createdAfter !== undefined) void query.where('created', '>', createdAfter)
  if (createdBefore !== undefined) {
    // The epoch stands for an unknown time.
    void query.where('created', '<', createdBefore).where('created', '>', new Date(0))
  }
  return fetchPage<StoredMirrorRow>(query.select(selectedColumns(trx, resource)), page, {
    at: 'created',
    id: 'id',
  })
}

/** The mirrored object with this id, including a deleted one, or null. */
export async function findMirroredObject(
  trx: Tx,
  resource: TableShape,
  conferenceId: string,
  id: string,
): Promise<StoredMirrorRow | null> {
  const row = await trx(tableOf(resource))
    .where({ conference_id: conferenceId, id })
    .first<StoredMirrorRow | undefined>(selectedColumns(trx, resource))
  return row ?? null
}

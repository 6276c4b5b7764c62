import { literal, longLiteral } from '../../db/tenant-statement.ts'
import { type MirrorRow, rowsAsJson } from './mirror-row.ts'
import { momentOf, type ReadingTime } from './reading-time.ts'
import type { StripeObject } from './stripe-object.ts'
import { type StripeResource, tableOf } from './stripe-resource.ts'

/** Columns of every mirror table that come from the object, beside the typed ones. */
const COMMON = { created: 'timestamptz', livemode: 'boolean', metadata: 'jsonb' } as const

export type Write = {
  conferenceId: string
  /** One row for an id at most. */
  rows: readonly MirrorRow[]
  asOf: ReadingTime
  /** Only rows whose object changed are rewritten; a newer reading of the same is not noted. */
  sparing: boolean
}

function contentColumns<T extends StripeObject>(resource: StripeResource<T>): string[] {
  return [...Object.keys(COMMON), ...Object.keys(resource.columns), 'data']
}

const list = (names: string[], qualifier: string) =>
  names.map((name) => `${qualifier}.${quoted(name)}`).join(', ')

/** Column names such as `limit` or `default` are words of SQL. */
export const quoted = (name: string) => `"${name}"`

/** The CTE `given`: the rows that are to be written, where `condition` is true. */
export function givenRows<T extends StripeObject>(
  resource: StripeResource<T>,
  rows: readonly MirrorRow[],
  condition = 'true',
): string {
  const typed = Object.entries(resource.columns).map(([name, { type }]) => [name, type] as const)
  const fields = [['id', 'text'] as const, ...Object.entries(COMMON), ...typed, ['data', 'jsonb']]
  const record = fields.map(([name, type]) => `${quoted(name ?? '')} ${type}`).join(', ')
  return `given as (
    select * from jsonb_to_recordset(${longLiteral(rowsAsJson(rows))}::jsonb) as given(${record})
    where ${condition}
  )`
}

/** SQL that is true where a stored row `mirror` says the same as the row `other`. */
function isSame<T extends StripeObject>(resource: StripeResource<T>, other: string): string {
  const columns = contentColumns(resource)
  return `(mirror.deleted_at is null
    and (${list(columns, 'mirror')}) is not distinct from (${list(columns, other)}))`
}

/**
 * The CTE `compared`: what writing each given row would do, as `outcome`. `stale`: what is stored
 * was read later.
 */
export function comparedRows<T extends StripeObject>(
  resource: StripeResource<T>,
  { conferenceId, asOf }: Pick<Write, 'conferenceId' | 'asOf'>,
): string {
  return `compared as (
    select given.id, case
        when mirror.id is null then 'created'
        when mirror.as_of >= ${momentOf(literal(asOf))} then 'stale'
        when ${isSame(resource, 'given')} then 'unchanged'
        else 'updated'
      end as outcome
    from given left join ${tableOf(resource)} mirror
      on mirror.conference_id = ${literal(conferenceId)} and mirror.id = given.id
  )`
}

/**
 * The CTE `written`: inserts the given rows, and updates those that were read before this reading
 * was requested. Returns the ids that it wrote and whether each was new.
 */
function writtenRows<T extends StripeObject>(
  resource: StripeResource<T>,
  { conferenceId, asOf, sparing }: Omit<Write, 'rows'>,
): string {
  const columns = contentColumns(resource)
  const names = columns.map(quoted).join(', ')
  const changes = columns.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ')
  const onlyChanged = sparing ? `and not ${isSame(resource, 'excluded')}` : ''
  // In one order everywhere: two writers of the same rows would lock each other out.
  return `written as (
    insert into ${tableOf(resource)} as mirror (conference_id, id, as_of, ${names})
    select ${literal(conferenceId)}, given.id, ${momentOf(literal(asOf))}, ${list(columns, 'given')}
    from given order by given.id
    on conflict (conference_id, id) do update
    set as_of = excluded.as_of, deleted_at = null, ${changes}
    where excluded.as_of > mirror.as_of ${onlyChanged}
    returning mirror.id, (mirror.xmax = 0) as is_new
  )`
}

/** `writtenRows`, and what follows from the rows elsewhere. */
export function writtenAndFollowing<T extends StripeObject>(
  resource: StripeResource<T>,
  write: Omit<Write, 'rows'>,
): string {
  const following = resource.follow?.(literal(write.conferenceId))
  return [writtenRows(resource, write), ...(following === undefined ? [] : [following])].join(', ')
}

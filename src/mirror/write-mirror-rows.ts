import type { Db } from '../db/connect.ts'
import { literal, longLiteral, tenantStatement } from '../db/tenant-scope.ts'
import type { StripeObject } from '../stripe/stripe-object.ts'
import { type FetchTime, toTimestampSql } from './fetch-time.ts'
import { toColumnValue } from './mirror-column.ts'
import { type StripeResource, tableOf } from './stripe-resource.ts'
import type { Synced } from './sync-outcome.ts'

/**
 * Stores the rows of one reading with one statement; what was read later stays.
 *
 * @param rows one for an id at most.
 */
export function writeRows<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  conferenceId: string,
  rows: readonly MirrorRow[],
  asOf: FetchTime,
): Promise<Synced[]> {
  const write = { conferenceId, asOf, sparing: false }
  return tenantStatement<Synced>(
    db,
    { conferenceId },
    `with ${givenRowsCte(resource, rows)}, ${comparedRowsCte(resource, write)},
      ${writtenRowsCtes(resource, write)}
    select compared.id, compared.outcome from compared left join written using (id)`,
  )
}

/**
 * Marks objects as deleted that a reading did not find. What they were stays readable; one that we
 * never knew is noted too, so that an older reading that arrives later cannot bring it to life.
 *
 * @returns the ids that lived here until now.
 */
export async function writeTombstones(
  db: Db,
  resource: { name: string; objects: readonly string[] },
  conferenceId: string,
  ids: readonly string[],
  asOf: FetchTime,
): Promise<string[]> {
  if (ids.length === 0) return []
  const at = toTimestampSql(literal(asOf))
  const rows = ids.map((id) => ({ id, object: resource.objects[0], deleted: true }))
  const found = await tenantStatement<{ id: string }>(
    db,
    { conferenceId },
    `with given as (
      select distinct data ->> 'id' as id, data
      from jsonb_array_elements(${literal(JSON.stringify(rows))}::jsonb) as data
    ), living as (
      select mirror.id from ${tableOf(resource)} mirror join given using (id)
      where mirror.conference_id = ${literal(conferenceId)} and mirror.deleted_at is null
    ), written as (
      insert into ${tableOf(resource)} as mirror (conference_id, id, data, as_of, deleted_at)
      select ${literal(conferenceId)}, given.id, given.data, ${at}, ${at} from given order by given.id
      on conflict (conference_id, id) do update
      set as_of = excluded.as_of, deleted_at = coalesce(mirror.deleted_at, excluded.deleted_at)
      where excluded.as_of > mirror.as_of
      returning mirror.id
    )
    select id from written join living using (id)`,
  )
  return found.map(({ id }) => id)
}

/** Columns of every mirror table that come from the object, beside the typed ones. */
const COMMON_COLUMNS = { created: 'timestamptz', livemode: 'boolean', metadata: 'jsonb' } as const

export type Write = {
  conferenceId: string
  /** One row for an id at most. */
  rows: readonly MirrorRow[]
  asOf: FetchTime
  /** Only rows whose object changed are rewritten; a newer reading of the same is not noted. */
  sparing: boolean
}

function contentColumns<T extends StripeObject>(resource: StripeResource<T>): string[] {
  return [...Object.keys(COMMON_COLUMNS), ...Object.keys(resource.columns), 'data']
}

const columnList = (names: string[], qualifier: string) =>
  names.map((name) => `${qualifier}.${quoted(name)}`).join(', ')

/** Column names such as `limit` or `default` are words of SQL. */
export const quoted = (name: string) => `"${name}"`

/** The CTE `given`: the rows that are to be written, where `condition` is true. */
export function givenRowsCte<T extends StripeObject>(
  resource: StripeResource<T>,
  rows: readonly MirrorRow[],
  condition = 'true',
): string {
  const typed = Object.entries(resource.columns).map(([name, { type }]) => [name, type] as const)
  const fields = [
    ['id', 'text'] as const,
    ...Object.entries(COMMON_COLUMNS),
    ...typed,
    ['data', 'jsonb'],
  ]
  const record = fields.map(([name, type]) => `${quoted(name ?? '')} ${type}`).join(', ')
  return `given as (
    select * from jsonb_to_recordset(${longLiteral(rowsAsJson(rows))}::jsonb) as given(${record})
    where ${condition}
  )`
}

/** SQL that is true where a stored row `mirror` says the same as the row `other`. */
function isSameRowSql<T extends StripeObject>(resource: StripeResource<T>, other: string): string {
  const columns = contentColumns(resource)
  return `(mirror.deleted_at is null
    and (${columnList(columns, 'mirror')}) is not distinct from (${columnList(columns, other)}))`
}

/**
 * The CTE `compared`: what writing each given row would do, as `outcome`. `stale`: what is stored
 * was read later.
 */
export function comparedRowsCte<T extends StripeObject>(
  resource: StripeResource<T>,
  { conferenceId, asOf }: Pick<Write, 'conferenceId' | 'asOf'>,
): string {
  return `compared as (
    select given.id, case
        when mirror.id is null then 'created'
        when mirror.as_of >= ${toTimestampSql(literal(asOf))} then 'stale'
        when ${isSameRowSql(resource, 'given')} then 'unchanged'
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
function writtenRowsCte<T extends StripeObject>(
  resource: StripeResource<T>,
  { conferenceId, asOf, sparing }: Omit<Write, 'rows'>,
): string {
  const columns = contentColumns(resource)
  const names = columns.map(quoted).join(', ')
  const changes = columns.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ')
  const onlyChanged = sparing ? `and not ${isSameRowSql(resource, 'excluded')}` : ''
  // In one order everywhere: two writers of the same rows would lock each other out.
  return `written as (
    insert into ${tableOf(resource)} as mirror (conference_id, id, as_of, ${names})
    select ${literal(conferenceId)}, given.id, ${toTimestampSql(literal(asOf))}, ${columnList(columns, 'given')}
    from given order by given.id
    on conflict (conference_id, id) do update
    set as_of = excluded.as_of, deleted_at = null, ${changes}
    where excluded.as_of > mirror.as_of ${onlyChanged}
    returning mirror.id, (mirror.xmax = 0) as is_new
  )`
}

/** `writtenRows`, and what follows from the rows elsewhere. */
export function writtenRowsCtes<T extends StripeObject>(
  resource: StripeResource<T>,
  write: Omit<Write, 'rows'>,
): string {
  const following = resource.follow?.(literal(write.conferenceId))
  return [writtenRowsCte(resource, write), ...(following === undefined ? [] : [following])].join(
    ', ',
  )
}

/** The values of typed columns, by column; what hooks see and may change. */
export type Defaults = { [column: string]: unknown }

/** A row as the statement takes it: JSON with a member for each column that is not null. */
export type MirrorRow = { id: string; data: StripeObject } & { [column: string]: unknown }

// `created` is the order of lists, so every row has one.
const UNKNOWN_TIME = new Date(0).toISOString()

/** Reads the typed columns from an object. */
export function readColumns<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
): Defaults {
  return Object.fromEntries(
    Object.entries(resource.columns).map(([name, column]) => [name, column.from(object)]),
  )
}

/** The row of an object, given the values of its typed columns. */
export function toMirrorRow<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
  defaults: Defaults,
): MirrorRow {
  const row: MirrorRow = {
    id: object.id,
    created: toColumnValue('timestamptz', object.created) ?? UNKNOWN_TIME,
    livemode: toColumnValue('boolean', object.livemode),
    metadata: object.metadata ?? null,
    data: object,
  }
  for (const [name, { type }] of Object.entries(resource.columns)) {
    const value = toColumnValue(type, defaults[name])
    if (value !== null) row[name] = value
  }
  return row
}

// NUL and unpaired surrogates are valid in JSON and in JavaScript, but not in Postgres's jsonb.
const UNSTORABLE = /\\u(0000|d[89a-f])/i

function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '').toWellFormed() : value
}

/** The rows as JSON that Postgres can store. What it cannot is left out of the texts. */
function rowsAsJson(rows: readonly MirrorRow[]): string {
  const json = JSON.stringify(rows)
  return UNSTORABLE.test(json) ? JSON.stringify(rows, storable) : json
}

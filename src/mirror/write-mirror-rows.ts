import type { Db } from '../db/connect.ts'
import { type Bind, tenantStatement } from '../db/tenant-scope.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import { type FetchTime, toTimestampSql } from './fetch-time.ts'
import {
  type ColumnType,
  type Defaults,
  type MirrorRow,
  type RowText,
  toColumnValue,
} from './mirror-column.ts'
import { type StripeResource, tableOf } from './stripe-resource.ts'
import type { Synced } from './sync-outcome.ts'

/**
 * Writes rows in one statement. Keeps a stored row that was fetched later.
 *
 * @param rows at most one row for each id.
 */
export function writeRows<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  conferenceId: string,
  rows: readonly RowText[],
): Promise<Synced[]> {
  const write = { conferenceId, onlyChanged: false }
  return tenantStatement<Synced>(
    db,
    { conferenceId },
    (
      bind,
    ) => `with ${givenRowsCte(bind, resource, rows)}, ${comparedRowsCte(bind, resource, conferenceId)},
      ${writtenRowsCtes(bind, resource, write)}
    select compared.id, compared.outcome from compared left join written using (id)`,
  )
}

/**
 * Turns the rows of objects that Stripe does not have into tombstones, which keep their columns. Also
 * writes tombstones for ids that have no row, so that an older fetch that arrives later is ignored.
 *
 * @returns the ids whose rows were not tombstones before.
 */
export async function writeTombstones(
  db: Db,
  resource: { name: string; objects: readonly string[] },
  conferenceId: string,
  ids: readonly string[],
  asOf: FetchTime,
): Promise<string[]> {
  if (ids.length === 0) return []
  const rows = ids.map((id) => ({ id, object: resource.objects[0], deleted: true }))
  const found = await tenantStatement<{ id: string }>(
    db,
    { conferenceId },
    (bind) => `with given as (
      select distinct data ->> 'id' as id, data, ${toTimestampSql(bind(asOf))} as at
      from jsonb_array_elements(${bind(JSON.stringify(rows))}::jsonb) as data
    ), living as (
      select mirror.id from ${tableOf(resource)} mirror join given using (id)
      where mirror.conference_id = ${bind(conferenceId)} and mirror.deleted_at is null
    ), written as (
      insert into ${tableOf(resource)} as mirror (conference_id, id, data, as_of, deleted_at)
      select ${bind(conferenceId)}, given.id, given.data, given.at, given.at from given order by given.id
      on conflict (conference_id, id) do update
      set as_of = excluded.as_of, deleted_at = coalesce(mirror.deleted_at, excluded.deleted_at)
      where excluded.as_of > mirror.as_of
      returning mirror.id
    )
    select id from written join living using (id)`,
  )
  return found.map(({ id }) => id)
}

/**
 * Turns the rows of objects that belong to another conference into tombstones without content: such an
 * object was ours before, or was mirrored before we knew its owner. Writes no new row.
 *
 * @returns the ids whose rows were not tombstones before.
 */
export async function clearForeignRows<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  conferenceId: string,
  ids: readonly string[],
  asOf: FetchTime,
): Promise<string[]> {
  if (ids.length === 0) return []
  const data = `jsonb_build_object('id', mirror.id, 'object', mirror.data -> 'object', 'deleted', true)`
  const cleared = ['metadata', ...Object.keys(resource.columns)].map(
    (name) => `${quoted(name)} = null`,
  )
  const found = await tenantStatement<{ id: string; was_live: boolean }>(
    db,
    { conferenceId },
    (bind) => `with read as (select ${toTimestampSql(bind(asOf))} as at
    ), given as (
      select id, deleted_at is null as was_live, read.at from ${tableOf(resource)}, read
      where conference_id = ${bind(conferenceId)} and as_of < read.at
        and id in (select jsonb_array_elements_text(${bind(JSON.stringify(ids))}::jsonb))
      order by id for update
    )
    update ${tableOf(resource)} as mirror
    set as_of = given.at, deleted_at = coalesce(mirror.deleted_at, given.at), data = ${data},
      ${cleared.join(', ')}
    from given
    where mirror.conference_id = ${bind(conferenceId)} and mirror.id = given.id
    returning mirror.id, given.was_live`,
  )
  return found.filter(({ was_live }) => was_live).map(({ id }) => id)
}

/** Columns that every mirror table fills from the object, in addition to the typed columns. */
const COMMON_COLUMNS = { created: 'timestamptz', livemode: 'boolean', metadata: 'jsonb' } as const

type Write = {
  conferenceId: string
  /** Write only rows whose object changed; do not update `as_of` of unchanged rows. */
  onlyChanged: boolean
}

/** The names and types of the columns that hold an object, in the order of their values in a RowText. */
function contentFields<T extends StripeObject>({ columns }: Pick<StripeResource<T>, 'columns'>) {
  return [
    ...Object.entries<ColumnType>(COMMON_COLUMNS),
    ...Object.entries(columns).map(([name, { type }]): [string, ColumnType] => [name, type]),
    ['data', 'jsonb'] satisfies [string, ColumnType],
  ]
}

const contentColumns = <T extends StripeObject>(resource: StripeResource<T>) =>
  contentFields(resource).map(([name]) => name)

const columnList = (names: string[], qualifier: string) =>
  names.map((name) => `${qualifier}.${quoted(name)}`).join(', ')

/** Quotes a column name: names such as `limit` or `default` are SQL keywords. */
export const quoted = (name: string) => `"${name}"`

/**
 * The CTE `given`: the rows to write, if `condition` is true. Postgres expects a hundred rows of a JSON array.
 * To compare one row, it would read the whole table, unless a limit says that it is one.
 */
export function givenRowsCte<T extends StripeObject>(
  bind: Bind,
  resource: StripeResource<T>,
  rows: readonly RowText[],
  condition = 'true',
): string {
  const fields = [['id', 'text'], ['as_of', 'bigint'], ...contentFields(resource)] as const
  const values = fields.map(([name, type], index) => `${valueSql(type, index)} as ${quoted(name)}`)
  const json = `[${rows.map((row) => row.json).join(',')}]`
  return `given as (
    select ${values.join(', ')} from jsonb_array_elements(${bind(json)}::jsonb) as row_values
    where ${condition}
    ${rows.length === 1 ? 'limit 1' : ''}
  )`
}

/** SQL for a value of a RowText. */
function valueSql(type: ColumnType, index: number): string {
  if (type === 'text') return `row_values ->> ${index}`
  if (type === 'jsonb') return `nullif(row_values -> ${index}, 'null')`
  return `(row_values ->> ${index})::${type}`
}

const FETCHED_AT_SQL = toTimestampSql('given.as_of')

/** An SQL condition: the stored row `mirror` has the same content as the row `other`. */
function isSameRowSql<T extends StripeObject>(resource: StripeResource<T>, other: string): string {
  const columns = contentColumns(resource)
  return `(mirror.deleted_at is null
    and (${columnList(columns, 'mirror')}) is not distinct from (${columnList(columns, other)}))`
}

/** The CTE `compared`: the outcome that writing each given row would have. */
export function comparedRowsCte<T extends StripeObject>(
  bind: Bind,
  resource: StripeResource<T>,
  conferenceId: string,
): string {
  return `compared as (
    select given.id, case
        when mirror.id is null then 'created'
        when mirror.as_of >= ${FETCHED_AT_SQL} then 'stale'
        when ${isSameRowSql(resource, 'given')} then 'unchanged'
        else 'updated'
      end as outcome
    from given left join ${tableOf(resource)} mirror
      on mirror.conference_id = ${bind(conferenceId)} and mirror.id = given.id
  )`
}

/**
 * The CTE `written`: inserts the given rows and updates stored rows that were fetched earlier. Returns
 * the ids that it wrote and whether each row is new.
 */
function writtenRowsCte<T extends StripeObject>(
  bind: Bind,
  resource: StripeResource<T>,
  { conferenceId, onlyChanged }: Write,
): string {
  const columns = contentColumns(resource)
  const names = columns.map(quoted).join(', ')
  const changes = columns.map((name) => `${quoted(name)} = excluded.${quoted(name)}`).join(', ')
  const isSame = (other: string) => isSameRowSql(resource, other)
  const changed = onlyChanged ? `and not ${isSame('excluded')}` : ''
  // A conflict locks the row even if nothing of it changed, which writes its page and the log.
  const source = onlyChanged
    ? `given left join lateral (
        select * from ${tableOf(resource)}
        where conference_id = ${bind(conferenceId)} and id = given.id limit 1
      ) mirror on true
      where mirror.id is null or (mirror.as_of < ${FETCHED_AT_SQL} and not ${isSame('given')})`
    : 'given'
  // Every writer uses the same order, so two writers of the same rows cannot deadlock.
  return `written as (
    insert into ${tableOf(resource)} as mirror (conference_id, id, as_of, ${names})
    select ${bind(conferenceId)}, given.id, ${FETCHED_AT_SQL}, ${columnList(columns, 'given')}
    from ${source} order by given.id
    on conflict (conference_id, id) do update
    set as_of = excluded.as_of, deleted_at = null, ${changes}
    where excluded.as_of > mirror.as_of ${changed}
    returning mirror.id, (mirror.xmax = 0) as is_new
  )`
}

/** The CTE `written`, and the follow-up CTEs of the resource. */
export function writtenRowsCtes<T extends StripeObject>(
  bind: Bind,
  resource: StripeResource<T>,
  write: Write,
): string {
  const written = writtenRowsCte(bind, resource, write)
  const followUp = resource.followUpCtes?.(bind(write.conferenceId))
  return followUp === undefined ? written : `${written}, ${followUp}`
}

// Lists are ordered by `created`, so every row needs a value.
const UNKNOWN_TIME = new Date(0).toISOString()

/** Reads the typed columns from an object. */
export function readColumns<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
): Defaults {
  const defaults: Defaults = {}
  for (const [name, column] of Object.entries(resource.columns)) {
    defaults[name] = column.from(object)
  }
  return defaults
}

/** The values of the content columns, in their order. */
function contentValues<T extends StripeObject>(
  { columns }: StripeResource<T>,
  object: T,
  defaults: Defaults,
): unknown[] {
  const values: unknown[] = [
    toColumnValue('timestamptz', object.created) ?? UNKNOWN_TIME,
    toColumnValue('boolean', object.livemode),
    object.metadata ?? null,
  ]
  for (const [name, { type }] of Object.entries(columns)) {
    values.push(toColumnValue(type, defaults[name]))
  }
  values.push(object)
  return values
}

/** The values of an object's row, by column. */
export function toMirrorRow<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
  defaults: Defaults,
): MirrorRow {
  const values = contentValues(resource, object, defaults)
  const columns = contentColumns(resource).map((name, index) => [name, values[index]])
  return { id: object.id, data: object, ...Object.fromEntries(columns) }
}

// NUL and unpaired surrogates are valid in JSON and in JavaScript, but not in jsonb.
const UNSTORABLE = /\\u(0000|d[89a-f])/i

function storable(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '').toWellFormed() : value
}

/** The row of an object. Removes the characters that Postgres cannot store. */
export function toRowText<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
  defaults: Defaults,
  asOf: FetchTime,
): RowText {
  const values = [object.id, asOf, ...contentValues(resource, object, defaults)]
  const json = JSON.stringify(values)
  return { id: object.id, json: UNSTORABLE.test(json) ? JSON.stringify(values, storable) : json }
}

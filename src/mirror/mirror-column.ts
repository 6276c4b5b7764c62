import { idOf, type StripeObject } from '../stripe/stripe-objects.ts'

/** The Postgres types that a typed column can have. */
export type ColumnType = 'text' | 'bigint' | 'numeric' | 'boolean' | 'timestamptz' | 'jsonb'

/**
 * A typed column of a mirror table. The row also holds the whole object, so a column exists only for
 * values that people filter or join on.
 */
export type Column<T> = {
  type: ColumnType
  /** Reads the value from the Stripe object. A value that does not fit the type is stored as null. */
  from(object: T): unknown
  indexed: boolean
}

/** The values of the typed columns, by column name. Hooks of a sync action can change them. */
export type Defaults = { [column: string]: unknown }

/** The values of a row, by column. */
export type MirrorRow = { id: string; data: StripeObject } & { [column: string]: unknown }

/** A row as it is sent to Postgres: a JSON array of its id, its fetch time and the values of its columns. */
export type RowText = { id: string; json: string }

type ColumnOptions = { indexed?: boolean }

function column(type: ColumnType) {
  return <T>(from: (object: T) => unknown, options: ColumnOptions = {}): Column<T> => ({
    type,
    from,
    indexed: options.indexed ?? false,
  })
}

export const text = column('text')
/** Whole numbers: counts, and amounts in the minor unit that Stripe uses for the currency. */
export const bigint = column('bigint')
/** Decimals. They are exact when Stripe sends them as text. */
export const numeric = column('numeric')
export const boolean = column('boolean')
/** Converts Stripe's seconds since 1970, UTC. */
export const timestamp = column('timestamptz')
export const json = column('jsonb')

/** The id of another object; Stripe sends the id or the whole object. Indexed for joins. */
export function reference<T>(
  from: (object: T) => string | { id?: string } | null | undefined,
): Column<T> {
  return { type: 'text', from: (object) => idOf(from(object)), indexed: true }
}

const MAX_SECONDS = 8_640_000_000_000 // the last moment of a JavaScript Date

function toTimestamp(value: unknown): string | null {
  if (value instanceof Date) return value.toISOString()
  const isSecond =
    typeof value === 'number' && Number.isFinite(value) && Math.abs(value) <= MAX_SECONDS
  return isSecond ? new Date(value * 1000).toISOString() : null
}

const DECIMAL = /^-?\d+(\.\d+)?(e[+-]?\d{1,3})?$/i

function toNumeric(value: unknown): string | number | null {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  // The SDK turns Stripe's decimals into objects; as JSON they are text again.
  const decimal: unknown = typeof value === 'object' ? JSON.parse(JSON.stringify(value)) : value
  return typeof decimal === 'string' && DECIMAL.test(decimal) ? decimal : null
}

const CONVERTERS: { readonly [Type in ColumnType]: (value: unknown) => unknown } = {
  text: (value) => (typeof value === 'string' ? value : null),
  bigint: (value) => (Number.isSafeInteger(value) ? value : null),
  numeric: toNumeric,
  boolean: (value) => (typeof value === 'boolean' ? value : null),
  timestamptz: toTimestamp,
  jsonb: (value) => value ?? null,
}

/**
 * Converts a value to the type of its column, or to null. Never throws: webhook endpoints and keys
 * with another API version can send a field in another shape, and the object must still be stored.
 */
export function toColumnValue(type: ColumnType, value: unknown): unknown {
  return CONVERTERS[type](value)
}

// SQL for views over embedded lists. Each function takes a jsonb expression and yields null, never an
// error, for a value of another shape: one odd object must not make the whole view unreadable.

/** The entries of an embedded list, such as `mirror.data -> 'lines'`, as a set of jsonb. */
export const entriesOf = (list: string) =>
  `jsonb_array_elements(
    case jsonb_typeof(${list} -> 'data') when 'array' then ${list} -> 'data' else '[]' end)`

/** The id in a field that holds an id or the whole object. */
export const idIn = (field: string) =>
  `case jsonb_typeof(${field}) when 'object' then ${field} ->> 'id' else ${field} #>> '{}' end`

const ifTyped = (type: string, field: string, sql: string) =>
  `case jsonb_typeof(${field}) when '${type}' then ${sql} end`

/** A whole number: a count, or an amount in minor units. */
export const wholeIn = (field: string) =>
  ifTyped('number', field, `trunc((${field})::numeric)::bigint`)

/** A time, given in seconds since 1970, UTC. */
export const timeIn = (field: string) =>
  ifTyped('number', field, `to_timestamp((${field})::double precision)`)

export const booleanIn = (field: string) => ifTyped('boolean', field, `(${field})::boolean`)

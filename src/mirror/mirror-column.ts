import { idOf } from '../stripe/stripe-object.ts'

/** The Postgres types that a typed column may have. */
export type ColumnType = 'text' | 'bigint' | 'numeric' | 'boolean' | 'timestamptz' | 'jsonb'

/**
 * A typed column of a mirror table. The whole object is kept beside it, so a column exists only for
 * what people filter and join on.
 */
export type Column<T> = {
  type: ColumnType
  /** Reads the value from Stripe's object. What does not fit the type is stored as null. */
  from(object: T): unknown
  indexed: boolean
}

type ColumnOptions = { indexed?: boolean }

function column(type: ColumnType) {
  return <T>(from: (object: T) => unknown, options: ColumnOptions = {}): Column<T> => ({
    type,
    from,
    indexed: options.indexed ?? false,
  })
}

export const text = column('text')
/** Whole numbers: amounts in the minor unit that Stripe uses for the currency, counts. */
export const bigint = column('bigint')
/** Decimals, exact when Stripe sends them as text. */
export const numeric = column('numeric')
export const boolean = column('boolean')
/** From Stripe's seconds since 1970, UTC. */
export const timestamp = column('timestamptz')
export const json = column('jsonb')

/** The id of another object, whether Stripe sent the id or the object. Indexed, to join on. */
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
  // The SDK makes objects of Stripe's decimals, which are texts again in JSON.
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
 * The value as the column's type takes it, or null. Never throws: an endpoint or a key of another
 * API version may send a field in another shape, and then the object must not be lost.
 */
export function toColumnValue(type: ColumnType, value: unknown): unknown {
  return CONVERTERS[type](value)
}

/**
 * SQL for views over embedded lists. Each takes a jsonb expression and gives null, never an error,
 * for what has another shape: one odd object must not make the whole view unreadable.
 */

/** The entries of an embedded list, such as `mirror.data -> 'lines'`, as a set of jsonb. */
export const entriesOf = (list: string) =>
  `jsonb_array_elements(
    case jsonb_typeof(${list} -> 'data') when 'array' then ${list} -> 'data' else '[]' end)`

/** The id of a field that holds an id or the object itself. */
export const idIn = (field: string) =>
  `case jsonb_typeof(${field}) when 'object' then ${field} ->> 'id' else ${field} #>> '{}' end`

const ifTyped = (type: string, field: string, sql: string) =>
  `case jsonb_typeof(${field}) when '${type}' then ${sql} end`

/** A whole number: an amount in minor units, or a count. */
export const wholeIn = (field: string) =>
  ifTyped('number', field, `trunc((${field})::numeric)::bigint`)

/** A time, from seconds since 1970, UTC. */
export const timeIn = (field: string) =>
  ifTyped('number', field, `to_timestamp((${field})::double precision)`)

export const booleanIn = (field: string) => ifTyped('boolean', field, `(${field})::boolean`)

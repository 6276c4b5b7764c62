import { fit } from './mirror-column.ts'
import type { StripeObject } from './stripe-object.ts'
import type { StripeResource } from './stripe-resource.ts'

/** The values of typed columns, by column; what hooks see and may change. */
export type Defaults = { [column: string]: unknown }

/** A row as the statement takes it: JSON with a member for each column that is not null. */
export type MirrorRow = { id: string; data: StripeObject } & { [column: string]: unknown }

// `created` is the order of lists, so every row has one.
const UNKNOWN = new Date(0).toISOString()

/** Reads the typed columns from an object. */
export function defaultsOf<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
): Defaults {
  return Object.fromEntries(
    Object.entries(resource.columns).map(([name, column]) => [name, column.from(object)]),
  )
}

/** The row of an object, given the values of its typed columns. */
export function rowOf<T extends StripeObject>(
  resource: StripeResource<T>,
  object: T,
  defaults: Defaults,
): MirrorRow {
  const row: MirrorRow = {
    id: object.id,
    created: fit('timestamptz', object.created) ?? UNKNOWN,
    livemode: fit('boolean', object.livemode),
    metadata: object.metadata ?? null,
    data: object,
  }
  for (const [name, { type }] of Object.entries(resource.columns)) {
    const value = fit(type, defaults[name])
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
export function rowsAsJson(rows: readonly MirrorRow[]): string {
  const json = JSON.stringify(rows)
  return UNSTORABLE.test(json) ? JSON.stringify(rows, storable) : json
}

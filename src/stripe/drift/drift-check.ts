import type { DriftKind, DriftObject, DriftResource } from './drift-line.ts'

/**
 * - `reconcile`: reads the purchase anew, which writes its rows and the mirror's.
 * - `adopt`: the same, with a payment that the purchase does not know yet.
 * - `sync`: reads the one object into the mirror.
 */
export type RepairKind = 'reconcile' | 'adopt' | 'sync'

/** What a check's statement selects. `key1` and `key2` tell its rows apart and order them. */
export type DriftRow = {
  key1: string
  key2: string
  purchase: string | null
  stripe_id: string | null
  field: string | null
  here: string | null
  there: string | null
  repair: RepairKind | null
  /** The payment to adopt. */
  payment_intent: string | null
}

/** Purchases to look at: SQL for the column that names the purchase; empty for all of them. */
export type Only = (column: string) => string

/** One kind of line: a statement that compares many rows at once. */
export type DriftCheck = {
  /** Stands in cursors. */
  name: string
  kind: DriftKind
  what: DriftObject
  resource: DriftResource
  source: 'purchases' | 'mirror'
  /** Reads the relations of stripe-side.ts. Binds `conference`, and what `only` binds. */
  sql(only: Only): string
}

/** The columns of a DriftRow, in SQL. */
export function columns(row: {
  key1: string
  key2?: string
  purchase: string
  stripeId: string
  field?: string
  here?: string
  there?: string
  repair: string
  paymentIntent?: string
}): string {
  return `${row.key1} as key1, ${row.key2 ?? `''`} as key2, ${row.purchase} as purchase,
    ${row.stripeId} as stripe_id, ${row.field ?? 'null::text'} as field,
    ${row.here ?? 'null::text'} as here, ${row.there ?? 'null::text'} as there,
    ${row.repair}::text as repair, ${row.paymentIntent ?? 'null::text'} as payment_intent`
}

/** The fields of two rows that are to be equal, as the rows `f(field, here, there)`. */
export function compared(
  fields: readonly (readonly [name: string, here: string, there: string])[],
) {
  const rows = fields.map(([name, here, there]) => `('${name}', ${here}, ${there})`)
  return `cross join lateral (values ${rows.join(', ')}) as f(field, here, there)`
}

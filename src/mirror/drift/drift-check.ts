import type { Tx } from '../../db/connect.ts'
import { CURRENCIES, toStripeAmount } from '../../shared/money.ts'
import {
  type DriftKind,
  type DriftLine,
  type DriftObject,
  type DriftResource,
  type RepairKind,
  type RepairScope,
  toRepair,
} from './drift-line.ts'

/** A row of a check's statement. `key1` and `key2` identify the row and define the order. */
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

/** Builds an SQL condition on the purchase column. Empty for all purchases. */
export type PurchaseFilter = (column: string) => string

/** Finds one kind of drift with one statement. */
export type DriftCheck = {
  /** Used in cursors. */
  name: string
  kind: DriftKind
  what: DriftObject
  resource: DriftResource
  source: 'purchases' | 'mirror'
  /** Reads the relations of `relations` below. Binds `conference`, and what `only` binds. */
  sql(only: PurchaseFilter): string
}

/** SQL that selects the columns of a DriftRow. */
export function rowColumns(row: {
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

/** SQL that turns the fields to compare into rows `f(field, here, there)`. */
export function comparedFields(
  fields: readonly (readonly [name: string, here: string, there: string])[],
) {
  const rows = fields.map(([name, here, there]) => `('${name}', ${here}, ${there})`)
  return `cross join lateral (values ${rows.join(', ')}) as f(field, here, there)`
}

/** What to compare. `purchases`: null for all purchases of the conference. */
export type Comparison = {
  conferenceId: string
  purchases: readonly string[] | null
  /** Objects fetched from Stripe, as JSON. Null: compare with the mirror. */
  objects: string | null
}

/** The last row of the previous page. */
export type RowPosition = { key1: string; key2: string }

const SOME_PURCHASES: PurchaseFilter = (column) => `and ${column} = any(cast(:purchases as text[]))`
const ALL_PURCHASES: PurchaseFilter = () => ''

function statement(check: DriftCheck, { purchases, objects }: Comparison): [string, string] {
  const side = objects === null ? MIRROR_SIDE : STRIPE_SIDE
  return [side, check.sql(purchases === null ? ALL_PURCHASES : SOME_PURCHASES)]
}

function bindings({ conferenceId, purchases, objects }: Comparison) {
  return {
    conference: conferenceId,
    ...(purchases === null ? {} : { purchases: [...purchases] }),
    ...(objects === null ? {} : { objects }),
  }
}

/** The rows of a check, in the order of their keys. */
export async function queryDriftRows(
  trx: Tx,
  check: DriftCheck,
  comparison: Comparison,
  page: { after: RowPosition | null; limit: number | null },
): Promise<DriftRow[]> {
  const [side, sql] = statement(check, comparison)
  const { after, limit } = page
  // The first condition is redundant, but unlike the second one it can use an index.
  const where = after === null ? '' : 'where key1 >= :key1 and (key1, key2) > (:key1, :key2)'
  const cut = limit === null ? '' : 'limit :limit'
  const { rows } = await trx.raw<{ rows: DriftRow[] }>(
    `${side} select * from (${sql}) as line ${where} order by key1, key2 ${cut}`,
    {
      ...bindings(comparison),
      ...(after === null ? {} : { key1: after.key1, key2: after.key2 }),
      ...(limit === null ? {} : { limit }),
    },
  )
  return rows
}

/** The number of rows of a check. */
export async function countDriftRows(
  trx: Tx,
  check: DriftCheck,
  comparison: Comparison,
): Promise<number> {
  const [side, sql] = statement(check, comparison)
  const { rows } = await trx.raw<{ rows: { lines: number }[] }>(
    `${side} select count(*) as lines from (${sql}) as line`,
    bindings(comparison),
  )
  return rows[0]?.lines ?? 0
}

// Values of these fields are numbers; all others are text.
const AMOUNT_FIELDS = new Set(['amount', 'amount_received', 'amount_refunded'])

export function toDriftLine(check: DriftCheck, row: DriftRow, scope: RepairScope): DriftLine {
  const isAmount = row.field !== null && AMOUNT_FIELDS.has(row.field)
  const value = (text: string | null) => (isAmount && text !== null ? Number(text) : text)
  const line = {
    kind: check.kind,
    what: check.what,
    purchase: row.purchase,
    stripe_id: row.stripe_id,
    resource: check.resource,
    field: row.field,
    here: value(row.here),
    there: value(row.there),
    source: check.source,
    compared_with: scope.comparedWith,
  }
  return { ...line, repair: toRepair(row.repair, line, row.payment_intent, scope) }
}

// SQL for Stripe's side of a comparison: the relations `there_payments`, `there_refunds`,
// `there_disputes` and `there_sessions`, with the names, amounts and currencies of the purchases' tables.
// Their rows come from the mirror or from fetched objects, so each check works for both.

type RelationSources = { readonly [Resource in DriftResource]: string }

/** The mirror columns that the relations read. */
const RECORD_COLUMNS: { readonly [Resource in DriftResource]: string } = {
  'payment-intents':
    'metadata jsonb, status text, amount bigint, amount_received bigint, currency text',
  refunds: 'status text, amount bigint, currency text, payment_intent text',
  disputes: 'status text, amount bigint, currency text, payment_intent text',
  'checkout-sessions':
    'status text, payment_status text, client_reference_id text, payment_intent text',
}

// Stripe uses two decimals for some currencies without decimals: 5 ISK is 500 at Stripe.
const IN_HUNDREDTHS = CURRENCIES.filter((currency) => toStripeAmount(1, currency) === 100)

function amountSql(column: string): string {
  const codes = IN_HUNDREDTHS.map((code) => `'${code}'`).join(', ')
  return `case when upper(currency) in (${codes}) then ${column} / 100 else ${column} end`
}

/** A refund or a dispute of a payment. */
const moneyMovementSql = (source: string, status: string) =>
  `select id, payment_intent, ${status} as status, ${amountSql('amount')} as amount,
     upper(currency) as currency from ${source}`

function relations(side: string, source: RelationSources): string[] {
  // `not materialized`: Postgres can use the index of the mirror table and stop at the limit.
  const relation = (name: string, select: string) =>
    `${side}_${name} as not materialized (${select})`
  return [
    relation(
      'payments',
      `select id, metadata ->> 'purchase_id' as purchase_id,
         metadata ->> 'conference_id' as conference_id, status, ${amountSql('amount')} as amount,
         ${amountSql('amount_received')} as amount_received, upper(currency) as currency
       from ${source['payment-intents']}`,
    ),
    // Very old refunds have no status. `pending` is the cautious choice: such a refund can still fail.
    relation('refunds', moneyMovementSql(source.refunds, `coalesce(status, 'pending')`)),
    relation('disputes', moneyMovementSql(source.disputes, 'status')),
    relation(
      'sessions',
      `select id, client_reference_id as purchase_id, payment_intent, status, payment_status,
         payment_status in ('paid', 'no_payment_required') as is_paid
       from ${source['checkout-sessions']}`,
    ),
  ]
}

const mirrorTable = (table: string) =>
  `stripe.${table} where conference_id = :conference and deleted_at is null`

const MIRROR_TABLES: RelationSources = {
  'payment-intents': mirrorTable('payment_intents'),
  refunds: mirrorTable('refunds'),
  disputes: mirrorTable('disputes'),
  'checkout-sessions': mirrorTable('checkout_sessions'),
}

const givenObjects = (resource: DriftResource) =>
  `jsonb_to_recordset(cast(:objects as jsonb) -> '${resource}') as given(id text, ${RECORD_COLUMNS[resource]})`

const GIVEN_OBJECTS: RelationSources = {
  'payment-intents': givenObjects('payment-intents'),
  refunds: givenObjects('refunds'),
  disputes: givenObjects('disputes'),
  'checkout-sessions': givenObjects('checkout-sessions'),
}

/** Stripe's side from the mirror. Binds `conference`. */
const MIRROR_SIDE = `with ${relations('there', MIRROR_TABLES).join(', ')}`

/**
 * Stripe's side from fetched objects; the mirror's relations are named `mirror_…`. Binds `conference` and
 * `objects`: JSON with rows as the mirror stores them, by resource.
 */
const STRIPE_SIDE = `with ${[...relations('there', GIVEN_OBJECTS), ...relations('mirror', MIRROR_TABLES)].join(', ')}`

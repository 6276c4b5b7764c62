import { CURRENCIES, toStripeAmount } from '../../shared/money.ts'
import type { DriftResource } from './drift-line.ts'

/**
 * SQL that shows Stripe's side of a comparison as the four relations `there_payments`,
 * `there_refunds`, `there_disputes` and `there_sessions`, with names, amounts and currencies as the
 * purchases' own rows have them. Where their rows come from is all that differs between the mirror
 * and Stripe itself, so every rule of the report is written once.
 */
type Source = { readonly [Resource in DriftResource]: string }

/** Columns of the mirror that the relations read, with those that every row has. */
const RECORD: { readonly [Resource in DriftResource]: string } = {
  'payment-intents':
    'metadata jsonb, status text, amount bigint, amount_received bigint, currency text',
  refunds: 'status text, amount bigint, currency text, payment_intent text',
  disputes: 'status text, amount bigint, currency text, payment_intent text',
  'checkout-sessions':
    'status text, payment_status text, client_reference_id text, payment_intent text',
}

// Stripe keeps two decimals for currencies that have none: 5 ISK is 500 there.
const IN_HUNDREDTHS = CURRENCIES.filter((currency) => toStripeAmount(1, currency) === 100)

function amount(column: string): string {
  const codes = IN_HUNDREDTHS.map((code) => `'${code}'`).join(', ')
  return `case when upper(currency) in (${codes}) then ${column} / 100 else ${column} end`
}

/** Money that comes or goes through a payment. */
const part = (source: string, status: string) =>
  `select id, payment_intent, ${status} as status, ${amount('amount')} as amount,
     upper(currency) as currency from ${source}`

function relations(side: string, source: Source): string[] {
  // Looked into, not stored: Postgres may walk the index of a mirror table and stop at the limit.
  const relation = (name: string, select: string) =>
    `${side}_${name} as not materialized (${select})`
  return [
    relation(
      'payments',
      `select id, metadata ->> 'purchase_id' as purchase_id,
         metadata ->> 'conference_id' as conference_id, status, ${amount('amount')} as amount,
         ${amount('amount_received')} as amount_received, upper(currency) as currency
       from ${source['payment-intents']}`,
    ),
    // Very old refunds have no status; one that may still fail is the cautious reading.
    relation('refunds', part(source.refunds, `coalesce(status, 'pending')`)),
    relation('disputes', part(source.disputes, 'status')),
    relation(
      'sessions',
      `select id, client_reference_id as purchase_id, payment_intent, status, payment_status,
         payment_status in ('paid', 'no_payment_required') as is_paid
       from ${source['checkout-sessions']}`,
    ),
  ]
}

const ofMirror = (table: string) =>
  `stripe.${table} where conference_id = :conference and deleted_at is null`

const MIRROR: Source = {
  'payment-intents': ofMirror('payment_intents'),
  refunds: ofMirror('refunds'),
  disputes: ofMirror('disputes'),
  'checkout-sessions': ofMirror('checkout_sessions'),
}

const given = (resource: DriftResource) =>
  `jsonb_to_recordset(cast(:objects as jsonb) -> '${resource}') as given(id text, ${RECORD[resource]})`

const GIVEN: Source = {
  'payment-intents': given('payment-intents'),
  refunds: given('refunds'),
  disputes: given('disputes'),
  'checkout-sessions': given('checkout-sessions'),
}

/** The mirror as Stripe's side. Binds `conference`. */
export const MIRROR_SIDE = `with ${relations('there', MIRROR).join(', ')}`

/**
 * Objects that were read just now as Stripe's side, and the mirror as `mirror_…`. Binds `conference`
 * and `objects`: JSON with the mirror's rows of each resource.
 */
export const STRIPE_SIDE = `with ${[...relations('there', GIVEN), ...relations('mirror', MIRROR)].join(', ')}`

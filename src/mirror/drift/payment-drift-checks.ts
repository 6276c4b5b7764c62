import { comparedFields, type DriftCheck, type PurchaseFilter, rowColumns } from './drift-check.ts'
import type { DriftResource } from './drift-line.ts'

const differentPayment: DriftCheck = {
  name: 'different_payment',
  kind: 'different',
  what: 'payment',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 'o.payment_intent_id',
      key2: 'f.field',
      purchase: 'o.purchase_id',
      stripeId: 'o.payment_intent_id',
      field: 'f.field',
      here: 'f.here',
      there: 'f.there',
      repair: `'reconcile'`,
    })}
    from payments o
    join there_payments t on t.id = o.payment_intent_id
    ${comparedFields([
      ['status', 'o.status', 't.status'],
      ['amount', 'o.amount::text', 't.amount::text'],
      ['amount_received', 'o.amount_received::text', 't.amount_received::text'],
      ['currency', 'o.currency', 't.currency'],
    ])}
    where o.conference_id = :conference and o.purchase_id is not null ${only('o.purchase_id')} and f.here is distinct from f.there`,
}

function differentRefundOrDispute(
  what: 'refund' | 'dispute',
  resource: 'refunds' | 'disputes',
): DriftCheck {
  return {
    name: `different_${what}`,
    kind: 'different',
    what,
    resource,
    source: 'purchases',
    sql: (only: PurchaseFilter) => `
      select ${rowColumns({
        key1: 'o.id',
        key2: 'f.field',
        purchase: 'o.purchase_id',
        stripeId: 'o.id',
        field: 'f.field',
        here: 'f.here',
        there: 'f.there',
        repair: `'reconcile'`,
      })}
      from payment_${resource} o
      join there_${resource} t on t.id = o.id
      ${comparedFields([
        ['status', 'o.status', 't.status'],
        ['amount', 'o.amount::text', 't.amount::text'],
        ['currency', 'o.currency', 't.currency'],
      ])}
      where o.conference_id = :conference and o.purchase_id is not null ${only('o.purchase_id')}
        and f.here is distinct from f.there`,
  }
}

/** The status of the session and of its payment, by the attempt's state. */
const SESSION_STATUS = `case when o.state in ('expired', 'cancelled') then 'expired'
  when o.state in ('processing', 'paid', 'failed') then 'complete' else o.state end`
const PAYMENT_STATUS = `case o.state when 'processing' then 'pending' when 'paid' then 'paid'
  when 'failed' then 'failed' else 'none' end`

/**
 * If the session is paid, the attempt must be paid; the reverse does not hold, because a partial bank
 * transfer counts as paid here. A reconcile does not fetch expired sessions, so the repair of an expired
 * one adopts its payment. If that payment is known, there is no drift.
 */
const differentSession: DriftCheck = {
  name: 'different_checkout_session',
  kind: 'different',
  what: 'checkout_session',
  resource: 'checkout-sessions',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 'o.session_id',
      key2: 'f.field',
      purchase: 'o.purchase_id',
      stripeId: 'o.session_id',
      field: 'f.field',
      here: 'f.here',
      there: 'f.there',
      repair: `case when o.state not in ('expired', 'cancelled') then 'reconcile'
        when t.payment_intent is not null then 'adopt' else 'sync' end`,
      paymentIntent: 't.payment_intent',
    })}
    from payment_attempts o
    join there_sessions t on t.id = o.session_id
    ${comparedFields([
      ['status', SESSION_STATUS, 't.status'],
      [
        'payment_status',
        PAYMENT_STATUS,
        `case when t.is_paid then 'paid' else ${PAYMENT_STATUS} end`,
      ],
    ])}
    where o.conference_id = :conference and o.purchase_id is not null ${only('o.purchase_id')} and o.state <> 'refused'
      and f.here is distinct from f.there
      and not (o.state in ('expired', 'cancelled') and exists (select 1 from payments known
        where known.conference_id = :conference and known.payment_intent_id = t.payment_intent))`,
}

export const DIFFERENT_CHECKS: readonly DriftCheck[] = [
  differentPayment,
  differentRefundOrDispute('refund', 'refunds'),
  differentRefundOrDispute('dispute', 'disputes'),
  differentSession,
]

const isKnown = (id: string) => `exists (
  select 1 from payments o
  where o.conference_id = :conference and o.payment_intent_id = ${id})`

/**
 * A payment names one of our purchases, but the purchase does not know it: it was created in the Stripe
 * dashboard, or its event was lost. Conference and purchase must match, as for a reconcile.
 */
const extraPayment: DriftCheck = {
  name: 'extra_payment',
  kind: 'extra',
  what: 'payment',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 't.id',
      purchase: 'p.id',
      stripeId: 't.id',
      there: 't.status',
      repair: `'adopt'`,
      paymentIntent: 't.id',
    })}
    from there_payments t
    join bulk_purchases p on p.conference_id = :conference and p.id = t.purchase_id
    where t.conference_id = :conference ${only('p.id')} and not ${isKnown('t.id')}`,
}

/** A payment for a purchase that does not exist here, for example after an old backup was restored. */
const extraPurchase: DriftCheck = {
  name: 'extra_purchase',
  kind: 'extra',
  what: 'purchase',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 't.id',
      purchase: 't.purchase_id',
      stripeId: 't.id',
      there: 't.status',
      repair: 'null',
    })}
    from there_payments t
    where t.conference_id = :conference and t.amount_received > 0 ${only('t.purchase_id')}
      and t.purchase_id is not null
      and not exists (select 1 from bulk_purchases p
        where p.conference_id = :conference and p.id = t.purchase_id)`,
}

/** A refund or dispute of a known payment. */
function extraRefundOrDispute(
  what: 'refund' | 'dispute',
  resource: 'refunds' | 'disputes',
): DriftCheck {
  return {
    name: `extra_${what}`,
    kind: 'extra',
    what,
    resource,
    source: 'purchases',
    sql: (only: PurchaseFilter) => `
      select ${rowColumns({
        key1: 't.id',
        purchase: 'o.purchase_id',
        stripeId: 't.id',
        there: 't.status',
        repair: `'reconcile'`,
      })}
      from there_${resource} t
      join payments o
        on o.conference_id = :conference and o.payment_intent_id = t.payment_intent
          and o.purchase_id is not null
      where not exists (select 1 from payment_${resource} known
        where known.conference_id = :conference and known.id = t.id) ${only('o.purchase_id')}`,
  }
}

/**
 * A session names one of our purchases, but is not one of its attempts. Skips expired sessions, which
 * cannot be paid, and sessions whose payment is known.
 */
const extraSession: DriftCheck = {
  name: 'extra_checkout_session',
  kind: 'extra',
  what: 'checkout_session',
  resource: 'checkout-sessions',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 't.id',
      purchase: 'p.id',
      stripeId: 't.id',
      there: 't.status',
      repair: `case when t.payment_intent is not null then 'adopt' end`,
      paymentIntent: 't.payment_intent',
    })}
    from there_sessions t
    join bulk_purchases p on p.conference_id = :conference and p.id = t.purchase_id
    where t.status is distinct from 'expired' ${only('p.id')}
      and not exists (select 1 from payment_attempts o
        where o.conference_id = :conference and o.session_id = t.id)
      and not ${isKnown('t.payment_intent')}`,
}

export const EXTRA_CHECKS: readonly DriftCheck[] = [
  extraPayment,
  extraRefundOrDispute('refund', 'refunds'),
  extraRefundOrDispute('dispute', 'disputes'),
  extraSession,
  extraPurchase,
]

type LocalTable = { table: string; id: string; status: string }

/** The rows of a purchase table that have no object on Stripe's side. */
function missingCheck(
  what: 'payment' | 'refund' | 'dispute' | 'checkout_session',
  resource: DriftResource,
  ours: LocalTable,
  theirs: string,
  more: { name?: string; where?: string } = {},
): DriftCheck {
  return {
    name: more.name ?? `missing_${what}`,
    kind: 'missing',
    what,
    resource,
    source: 'purchases',
    sql: (only: PurchaseFilter) => `
      select ${rowColumns({
        key1: `o.${ours.id}`,
        purchase: 'o.purchase_id',
        stripeId: `o.${ours.id}`,
        here: `o.${ours.status}`,
        repair: `'sync'`,
      })}
      from ${ours.table} o
      where o.conference_id = :conference and o.purchase_id is not null
        and o.${ours.id} is not null ${more.where ?? ''}
        ${only('o.purchase_id')}
        and not exists (select 1 from ${theirs} t where t.id = o.${ours.id})`,
  }
}

const ATTEMPTS: LocalTable = { table: 'payment_attempts', id: 'session_id', status: 'state' }

/** Skips open sessions: Stripe sends no event for them, so the mirror may not have them. */
export const MISSING_CHECKS: readonly DriftCheck[] = [
  missingCheck(
    'payment',
    'payment-intents',
    { table: 'payments', id: 'payment_intent_id', status: 'status' },
    'there_payments',
  ),
  missingCheck(
    'refund',
    'refunds',
    { table: 'payment_refunds', id: 'id', status: 'status' },
    'there_refunds',
  ),
  missingCheck(
    'dispute',
    'disputes',
    { table: 'payment_disputes', id: 'id', status: 'status' },
    'there_disputes',
  ),
  missingCheck('checkout_session', 'checkout-sessions', ATTEMPTS, 'there_sessions', {
    where: `and o.state <> 'open'`,
  }),
]

/** Only for a comparison with Stripe itself, which must have open sessions too. */
export const MISSING_OPEN_SESSION = missingCheck(
  'checkout_session',
  'checkout-sessions',
  ATTEMPTS,
  'there_sessions',
  { name: 'missing_open_checkout_session', where: `and o.state = 'open'` },
)

import { columns, type DriftCheck, type Only } from '../drift-check.ts'

const isKnown = (id: string) => `exists (
  select 1 from purchase_payments o
  where o.conference_id = :conference and o.payment_intent_id = ${id})`

/**
 * A payment that names one of our purchases, which does not know it: taken in Stripe's dashboard, or
 * its event was lost. Both names must be ours, as a reconcile asks for it too.
 */
const payment: DriftCheck = {
  name: 'extra_payment',
  kind: 'extra',
  what: 'payment',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: Only) => `
    select ${columns({
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

/** Money for a purchase that is not here at all, such as after an older backup was restored. */
const purchase: DriftCheck = {
  name: 'extra_purchase',
  kind: 'extra',
  what: 'purchase',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: Only) => `
    select ${columns({
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

/** A refund or dispute of a payment that we know. */
function ofPayment(what: 'refund' | 'dispute', resource: 'refunds' | 'disputes'): DriftCheck {
  return {
    name: `extra_${what}`,
    kind: 'extra',
    what,
    resource,
    source: 'purchases',
    sql: (only: Only) => `
      select ${columns({
        key1: 't.id',
        purchase: 'o.purchase_id',
        stripeId: 't.id',
        there: 't.status',
        repair: `'reconcile'`,
      })}
      from there_${resource} t
      join purchase_payments o
        on o.conference_id = :conference and o.payment_intent_id = t.payment_intent
      where not exists (select 1 from purchase_${resource} known
        where known.conference_id = :conference and known.id = t.id) ${only('o.purchase_id')}`,
  }
}

/**
 * A session that names one of our purchases and is none of its attempts. Not told of: one that
 * nobody can pay any more, and one whose payment is known.
 */
const session: DriftCheck = {
  name: 'extra_checkout_session',
  kind: 'extra',
  what: 'checkout_session',
  resource: 'checkout-sessions',
  source: 'purchases',
  sql: (only: Only) => `
    select ${columns({
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
      and not exists (select 1 from checkout_attempts o
        where o.conference_id = :conference and o.session_id = t.id)
      and not ${isKnown('t.payment_intent')}`,
}

export const EXTRA_CHECKS: readonly DriftCheck[] = [
  payment,
  ofPayment('refund', 'refunds'),
  ofPayment('dispute', 'disputes'),
  session,
  purchase,
]

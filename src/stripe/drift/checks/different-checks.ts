import { columns, compared, type DriftCheck, type Only } from '../drift-check.ts'

const payment: DriftCheck = {
  name: 'different_payment',
  kind: 'different',
  what: 'payment',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: Only) => `
    select ${columns({
      key1: 'o.payment_intent_id',
      key2: 'f.field',
      purchase: 'o.purchase_id',
      stripeId: 'o.payment_intent_id',
      field: 'f.field',
      here: 'f.here',
      there: 'f.there',
      repair: `'reconcile'`,
    })}
    from purchase_payments o
    join there_payments t on t.id = o.payment_intent_id
    ${compared([
      ['status', 'o.status', 't.status'],
      ['amount', 'o.amount::text', 't.amount::text'],
      ['amount_received', 'o.amount_received::text', 't.amount_received::text'],
      ['currency', 'o.currency', 't.currency'],
    ])}
    where o.conference_id = :conference ${only('o.purchase_id')} and f.here is distinct from f.there`,
}

function moneyBack(what: 'refund' | 'dispute', resource: 'refunds' | 'disputes'): DriftCheck {
  return {
    name: `different_${what}`,
    kind: 'different',
    what,
    resource,
    source: 'purchases',
    sql: (only: Only) => `
      select ${columns({
        key1: 'o.id',
        key2: 'f.field',
        purchase: 'o.purchase_id',
        stripeId: 'o.id',
        field: 'f.field',
        here: 'f.here',
        there: 'f.there',
        repair: `'reconcile'`,
      })}
      from purchase_${resource} o
      join there_${resource} t on t.id = o.id
      ${compared([
        ['status', 'o.status', 't.status'],
        ['amount', 'o.amount::text', 't.amount::text'],
        ['currency', 'o.currency', 't.currency'],
      ])}
      where o.conference_id = :conference ${only('o.purchase_id')}
        and f.here is distinct from f.there`,
  }
}

/**
 * An attempt is paid when its session is; the reverse need not hold, since part of a bank transfer
 * counts as paid here. A reconcile does not read a session again that is expired here: then its
 * payment is adopted, and once that is known there is nothing to tell.
 */
const session: DriftCheck = {
  name: 'different_checkout_session',
  kind: 'different',
  what: 'checkout_session',
  resource: 'checkout-sessions',
  source: 'purchases',
  sql: (only: Only) => `
    select ${columns({
      key1: 'o.session_id',
      key2: 'f.field',
      purchase: 'o.purchase_id',
      stripeId: 'o.session_id',
      field: 'f.field',
      here: 'f.here',
      there: 'f.there',
      repair: `case when o.state <> 'expired' then 'reconcile'
        when t.payment_intent is not null then 'adopt' else 'sync' end`,
      paymentIntent: 't.payment_intent',
    })}
    from checkout_attempts o
    join there_sessions t on t.id = o.session_id
    ${compared([
      ['status', 'o.state', 't.status'],
      ['payment_status', 'o.payment', `case when t.is_paid then 'paid' else o.payment end`],
    ])}
    where o.conference_id = :conference ${only('o.purchase_id')} and o.state <> 'refused'
      and f.here is distinct from f.there
      and not (o.state = 'expired' and exists (select 1 from purchase_payments known
        where known.conference_id = :conference and known.payment_intent_id = t.payment_intent))`,
}

export const DIFFERENT_CHECKS: readonly DriftCheck[] = [
  payment,
  moneyBack('refund', 'refunds'),
  moneyBack('dispute', 'disputes'),
  session,
]

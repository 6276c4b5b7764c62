import { comparedFields, type DriftCheck, type PurchaseFilter, rowColumns } from './drift-check.ts'
import { DIFFERENT_CHECKS, EXTRA_CHECKS, MISSING_CHECKS } from './payment-drift-checks.ts'

/**
 * A payment succeeded, but the purchase is not PAID. A payment with another amount and a second payment
 * are no drift if a flag names them: they wait for staff.
 */
const unpaidPurchase: DriftCheck = {
  name: 'different_purchase_unpaid',
  kind: 'different',
  what: 'purchase',
  resource: 'checkout-sessions',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 'p.id',
      key2: 't.id',
      purchase: 'p.id',
      stripeId: 't.id',
      field: `'status'`,
      here: 'p.status',
      there: 't.payment_status',
      repair: `case when o.state in ('expired', 'cancelled') and t.payment_intent is not null then 'adopt'
        else 'reconcile' end`,
      paymentIntent: 't.payment_intent',
    })}
    from bulk_purchases p
    join payment_attempts o on o.conference_id = :conference and o.purchase_id = p.id
    join there_sessions t on t.id = o.session_id
    where p.conference_id = :conference and p.status in ('PENDING', 'PROCESSING', 'FAILED')
      and t.is_paid ${only('p.id')}
      and not exists (select 1 from purchase_flags flag
        where flag.conference_id = :conference and flag.purchase_id = p.id
          and flag.fact = t.payment_intent)`,
}

/** The purchase is PAID, but its payment did not succeed. Payments accepted by staff are skipped. */
const paymentNotSucceeded: DriftCheck = {
  name: 'different_purchase_payment',
  kind: 'different',
  what: 'purchase',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 'p.id',
      purchase: 'p.id',
      stripeId: 't.id',
      field: `'status'`,
      here: 'p.status',
      there: 't.status',
      repair: `'reconcile'`,
    })}
    from bulk_purchases p
    join there_payments t on t.id = p.payment_intent_id
    where p.conference_id = :conference and p.status in ('PAID', 'REFUNDED')
      and t.status is distinct from 'succeeded' ${only('p.id')}
      and p.accepted_payment_intent_id is distinct from p.payment_intent_id`,
}

/** The refunded or lost amount of each payment, on Stripe's side. */
const returnedMoney = (relation: string, status: string) => `(
  select payment_intent, sum(amount) as amount from ${relation} where status = '${status}'
  group by payment_intent)`

/**
 * The sums over the payments in the purchase's currency and the payment accepted by staff, as the purchase
 * itself counts them. `is_whole` is false if a payment is missing on Stripe's side.
 */
const paymentSums = (only: PurchaseFilter) => `(
  select o.purchase_id, bool_and(t.id is not null) as is_whole,
    sum(t.amount_received) as received, sum(coalesce(refunded.amount, 0)) as refunded,
    sum(coalesce(lost.amount, 0)) as lost
  from payments o
  join bulk_purchases b on b.conference_id = :conference and b.id = o.purchase_id
  left join there_payments t on t.id = o.payment_intent_id
  left join ${returnedMoney('there_refunds', 'succeeded')} refunded
    on refunded.payment_intent = o.payment_intent_id
  left join ${returnedMoney('there_disputes', 'lost')} lost
    on lost.payment_intent = o.payment_intent_id
  where o.conference_id = :conference ${only('o.purchase_id')}
    and (o.currency = b.currency or o.payment_intent_id = b.accepted_payment_intent_id)
  group by o.purchase_id)`

/** Stripe knows nothing of these. */
const RECORDED = `(
  select r.purchase_id, r.amount, (
    select coalesce(sum(b.amount), 0) from recorded_refunds b
    where b.conference_id = r.conference_id and b.purchase_id = r.purchase_id) as refunded
  from recorded_payments r where r.conference_id = :conference)`

const lostDisputes = (only: PurchaseFilter) => `(
  select o.purchase_id, sum(o.amount) as amount from payment_disputes o
  where o.conference_id = :conference and o.status = 'lost' ${only('o.purchase_id')}
  group by o.purchase_id)`

/** The received and refunded totals differ, or the purchase is PAID although no money is left. */
const purchaseMoney: DriftCheck = {
  name: 'different_purchase_money',
  kind: 'different',
  what: 'purchase',
  resource: 'payment-intents',
  source: 'purchases',
  sql: (only: PurchaseFilter) => `
    select ${rowColumns({
      key1: 'p.id',
      key2: 'f.field',
      purchase: 'p.id',
      stripeId: 'p.payment_intent_id',
      field: 'f.field',
      here: 'f.here',
      there: 'f.there',
      repair: `'reconcile'`,
    })}
    from bulk_purchases p
    join ${paymentSums(only)} s on s.purchase_id = p.id
    left join ${lostDisputes(only)} lost on lost.purchase_id = p.id
    left join ${RECORDED} recorded on recorded.purchase_id = p.id
    cross join lateral (select s.received + coalesce(recorded.amount, 0) as received,
      s.refunded + coalesce(recorded.refunded, 0) as refunded) as owed
    ${comparedFields([
      ['amount_received', 'p.amount_received::text', 'owed.received::text'],
      ['amount_refunded', 'p.amount_refunded::text', 'owed.refunded::text'],
      [
        'status',
        'p.status',
        `case when p.status = 'PAID' and owed.received > 0 and owed.received <= owed.refunded + s.lost
            and p.amount_received > p.amount_refunded + coalesce(lost.amount, 0)
          then 'REFUNDED' else p.status end`,
      ],
    ])}
    where p.conference_id = :conference ${only('p.id')} and s.is_whole
      and f.here is distinct from f.there`,
}

const PURCHASE_CHECKS: readonly DriftCheck[] = [unpaidPurchase, paymentNotSucceeded, purchaseMoney]

/** Compares the purchases' rows with Stripe's side, in the order of the report. */
export const ALL_CHECKS: readonly DriftCheck[] = [
  ...PURCHASE_CHECKS,
  ...DIFFERENT_CHECKS,
  ...EXTRA_CHECKS,
  ...MISSING_CHECKS,
]

import type { PaymentBalance } from '../payments/balances.ts'
import type { PaymentRecords } from '../payments/payment-records.ts'
import {
  type DisputeSnapshot,
  disputeOutcome,
  isRefundFailed,
  isRefundPending,
  type RefundSnapshot,
} from '../payments/payment-snapshot.ts'
import { formatMoney } from '../shared/money.ts'
import type { BulkPurchase } from './purchase-aggregate.ts'
import type { PurchaseEvent } from './purchase-machine.ts'

/** A payment that may pay the purchase; the guard compares its amount with what is due. */
export function paymentSucceeded(
  { accepted }: BulkPurchase,
  { paymentIntent, received: amount, currency }: PaymentBalance,
): PurchaseEvent {
  const isAccepted = accepted?.paymentIntentId === paymentIntent
  return { type: 'PAYMENT_SUCCEEDED', paymentIntent, amount, currency, accepted: isAccepted }
}

export function secondPayment({
  paymentIntent,
  received,
  currency,
}: PaymentBalance): PurchaseEvent {
  const detail = `A second payment ${paymentIntent} of ${formatMoney(received, currency)} arrived. Refund one of the payments.`
  const flag = { fact: paymentIntent, detail }
  return { type: 'SECOND_PAYMENT', flag, amount: received, currency }
}

/** A payment of another amount or currency than what is due. */
export function mismatch(
  purchase: BulkPurchase,
  { paymentIntent, received, currency }: PaymentBalance,
): PurchaseEvent {
  const expected = formatMoney(purchase.totalAmount, purchase.currency)
  const detail = `Payment ${paymentIntent} is ${formatMoney(received, currency)} instead of ${expected}. No vouchers were issued: accept the payment or refund it.`
  const flag = { fact: paymentIntent, detail }
  return { type: 'PAYMENT_MISMATCHED', flag, amount: received, currency }
}

/** The records of money that went back, or may go back. */
export type Returned = Pick<PaymentRecords, 'refunds' | 'disputes'>

export const NOTHING_RETURNED: Returned = { refunds: [], disputes: [] }

/** Those whose status differs from the status before. */
function statusChanges<S extends { id: string; status: string }>(now: S[], before: S[]) {
  const known = new Map(before.map(({ id, status }) => [id, status]))
  return now
    .filter(({ id, status }) => known.get(id) !== status)
    .map((one) => ({ ...one, previous: known.get(one.id) }))
}

/** The machine's events for refunds that changed. */
export function refundEvents(now: Returned, before: Returned): PurchaseEvent[] {
  const changes = statusChanges(now.refunds, before.refunds)
  const pending = changes.filter(({ status }) => isRefundPending(status))
  const succeeded = changes.filter(({ status }) => status === 'succeeded')
  const events: PurchaseEvent[] = []
  if (pending.length > 0) events.push({ type: 'REFUND_PENDING', ...moneyOf(pending) })
  for (const refund of changes.filter(({ status }) => isRefundFailed(status))) {
    const { id, status } = refund
    const detail = `Refund ${id} ${status === 'failed' ? 'failed' : 'was canceled'}, so the sponsor did not get the money. Pay the sponsor in another way, or reinstate the purchase.`
    events.push({ type: 'REFUND_FAILED', flag: { fact: id, detail }, ...moneyOf([refund]) })
  }
  if (succeeded.length > 0) {
    const money = moneyOf(succeeded)
    // The machine takes the one that fits: a part was refunded, or everything.
    events.push({ type: 'PARTIALLY_REFUNDED', ...money }, { type: 'REFUNDED', ...money })
  }
  return events
}

/** The sum and the reason of refunds or disputes of one event; neither if they differ. */
function moneyOf(
  changes: Pick<RefundSnapshot | DisputeSnapshot, 'amount' | 'currency' | 'reason'>[],
) {
  const [first, ...others] = changes
  if (first === undefined) return {}
  const { currency, reason } = first
  const sum = changes.reduce((total, { amount }) => total + amount, 0)
  return {
    ...(others.every((one) => one.currency === currency) ? { amount: sum, currency } : {}),
    reason: others.every((one) => one.reason === reason) ? reason : null,
  }
}

/** The machine's events for disputes that were opened or closed. */
export function disputeEvents(now: Returned, before: Returned): PurchaseEvent[] {
  const events: PurchaseEvent[] = []
  for (const dispute of statusChanges(now.disputes, before.disputes)) {
    const { id, status, previous } = dispute
    const money = moneyOf([dispute])
    const outcome = disputeOutcome(status)
    if (previous !== undefined && disputeOutcome(previous) === outcome) continue
    // A dispute that is closed in its first snapshot was opened before: both events are sent.
    if (previous === undefined) {
      const detail = `Dispute ${id} was opened (${status}). Answer it in Stripe's dashboard.`
      events.push({ type: 'DISPUTE_OPENED', flag: { fact: id, detail }, ...money })
    }
    if (outcome === 'won') events.push({ type: 'DISPUTE_WON', ...money })
    if (outcome === 'lost') events.push({ type: 'DISPUTE_LOST', ...money })
    if (previous !== undefined && outcome === 'open') {
      const detail = `Dispute ${id} is open again. Answer it in Stripe's dashboard.`
      events.push({ type: 'DISPUTE_OPENED', flag: { fact: id, detail }, ...money })
    }
  }
  return events
}

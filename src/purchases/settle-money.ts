import type { Tx } from '../db/connect.ts'
import { advance } from './advance-purchase.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { disputeOutcome, isRefundFailed, isRefundUnderWay } from './payment-facts.ts'
import { type KnownMoney, loadKnownMoney } from './payment-store.ts'
import type { Cause } from './purchase-history.ts'
import type { PurchaseEvent } from './purchase-machine.ts'

type Change<S> = { id: string; status: S }

function changes<S>(now: Map<string, S>, before: Map<string, S>): Change<S>[] {
  return [...now]
    .filter(([id, status]) => before.get(id) !== status)
    .map(([id, status]) => ({ id, status }))
}

/**
 * What happens when money goes back: refunds and disputes whose status is news since `before`. The
 * machine's guards look at the sums as they stand, so one event for each kind of news is enough,
 * and several refunds between two readings end like the same refunds read one by one.
 */
export async function settleMoney(
  trx: Tx,
  ref: PurchaseRef,
  before: KnownMoney,
  cause: Cause,
): Promise<void> {
  const now = await loadKnownMoney(trx, ref)
  for (const event of [...disputeEvents(now, before), ...refundEvents(now, before)]) {
    await advance(trx, ref, event, cause)
  }
}

function refundEvents(now: KnownMoney, before: KnownMoney): PurchaseEvent[] {
  const news = changes(now.refunds, before.refunds)
  const events: PurchaseEvent[] = []
  if (news.some(({ status }) => isRefundUnderWay(status))) events.push({ type: 'REFUND_PENDING' })
  for (const { id, status } of news.filter((refund) => isRefundFailed(refund.status))) {
    const detail = `Refund ${id} ${status === 'failed' ? 'failed' : 'was canceled'}: the money is back with us. Decide what the sponsor gets.`
    events.push({ type: 'REFUND_FAILED', flag: { fact: id, detail } })
  }
  if (news.some(({ status }) => status === 'succeeded')) {
    // At most one of the two passes its guard.
    events.push({ type: 'PARTIALLY_REFUNDED' }, { type: 'REFUNDED' })
  }
  return events
}

function disputeEvents(now: KnownMoney, before: KnownMoney): PurchaseEvent[] {
  const events: PurchaseEvent[] = []
  for (const { id, status } of changes(now.disputes, before.disputes)) {
    const known = before.disputes.get(id)
    const outcome = disputeOutcome(status)
    if (known !== undefined && disputeOutcome(known) === outcome) continue
    // A dispute that is over when we first see it was opened before: staff see both.
    if (known === undefined) {
      const detail = `Dispute ${id} was opened (${status}). Answer it in Stripe's dashboard.`
      events.push({ type: 'DISPUTE_OPENED', flag: { fact: id, detail } })
    }
    if (outcome === 'won') events.push({ type: 'DISPUTE_WON' })
    if (outcome === 'lost') events.push({ type: 'DISPUTE_LOST' })
    if (known !== undefined && outcome === 'open') {
      events.push({
        type: 'DISPUTE_OPENED',
        flag: { fact: id, detail: `Dispute ${id} is open again.` },
      })
    }
  }
  return events
}

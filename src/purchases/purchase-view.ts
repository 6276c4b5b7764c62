import type { z } from 'zod'
import { visibleName } from '../access/actor-names.ts'
import type { Tx } from '../db/connect.ts'
import { NO_RECORDS, type PaymentAttempt } from '../payments/payment-records.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { toTimestamp } from '../shared/time.ts'
import { NO_VOUCHERS, type VoucherCounts } from '../vouchers/voucher-counts.ts'
import { toVoucherConfig } from '../vouchers/voucher-terms.ts'
import type { BulkPurchase, PurchaseAggregate } from './purchase-aggregate.ts'
import { allowedActions } from './purchase-aggregate.ts'
import type { purchaseSchema } from './purchase-schemas.ts'
import { loadViews, type PurchaseNames } from './purchase-store.ts'

export type PurchaseBody = z.infer<typeof purchaseSchema>

function toCheckout(attempt: PaymentAttempt | undefined): PurchaseBody['checkout'] {
  if (attempt?.kind !== 'checkout') return null
  return {
    session_id: attempt.sessionId,
    url: attempt.state === 'open' ? attempt.url : null,
    expires_at: toTimestamp(attempt.expiresAt),
    attempt: attempt.attempt,
  }
}

function toRecordedPayment({
  records: { recorded },
}: PurchaseAggregate): PurchaseBody['recorded_payment'] {
  if (recorded === null) return null
  return {
    id: recorded.id,
    amount: recorded.amount,
    amount_refunded: recorded.refunds.reduce((sum, { amount }) => sum + amount, 0),
    method: recorded.method,
    reference: recorded.reference,
    paid_at: toTimestamp(recorded.paidAt),
  }
}

function toBody(
  aggregate: PurchaseAggregate,
  vouchers: VoucherCounts,
  names: PurchaseNames,
  isSponsor: boolean,
): PurchaseBody {
  const flags = aggregate.flags.filter(({ isOpen }) => isOpen)
  const { purchase } = aggregate
  return {
    id: purchase.id,
    object: 'bulk_purchase',
    conference: purchase.conferenceId,
    sponsor: purchase.sponsorId,
    sponsor_name: names.sponsor,
    status: purchase.status,
    quantity: purchase.quantity,
    unit_amount: purchase.unitAmount,
    total_amount: purchase.totalAmount,
    amount_received: purchase.amountReceived,
    amount_refunded: purchase.amountRefunded,
    currency: purchase.currency,
    description: purchase.description,
    reference: purchase.reference,
    ticket_type: purchase.ticketTypeId,
    add_on: purchase.addOnId,
    ticket_name: names.item,
    voucher_config: toVoucherConfig(purchase.terms),
    checkout: toCheckout(aggregate.records.attempts.at(-1)),
    payment_intent: purchase.paymentIntentId,
    recorded_payment: toRecordedPayment(aggregate),
    failure: purchase.failure,
    vouchers,
    flags: flags.map(({ code, detail, raisedAt }) => ({
      code,
      detail,
      raised_at: toTimestamp(new Date(raisedAt)),
    })),
    allowed_actions: allowedActions(aggregate, isSponsor, flags.length > 0),
    requested_by: purchase.requestedBy,
    requested_by_name: visibleName(names.requestedBy, isSponsor),
    approved_by: purchase.approvedBy,
    approved_by_name: visibleName(names.approvedBy, isSponsor),
    created_at: toTimestamp(purchase.createdAt),
    updated_at: toTimestamp(purchase.updatedAt),
    paid_at: toTimestamp(purchase.paidAt),
    refunded_at: toTimestamp(purchase.refundedAt),
  }
}

/** Purchases as the API shows them, in one statement for any number of purchases. */
export async function viewPurchases(
  trx: Tx,
  caller: Caller,
  ids: readonly string[],
): Promise<PurchaseBody[]> {
  const found = await loadViews(trx, caller.conferenceId, ids)
  const byId = new Map(found.map((view) => [view.purchase.id, view]))
  return ids.flatMap((id) => {
    const view = byId.get(id)
    if (view === undefined) return []
    return [toBody(view, view.vouchers ?? NO_VOUCHERS, view.names, caller.sponsorId !== null)]
  })
}

/** A purchase that was just created: it has no attempts, payments, vouchers or flags to load. */
export function viewNewPurchase(
  caller: Caller,
  { purchase, names }: { purchase: BulkPurchase; names: PurchaseNames },
): PurchaseBody {
  const aggregate = { purchase, records: NO_RECORDS, flags: [], target: null }
  return toBody(aggregate, NO_VOUCHERS, names, caller.sponsorId !== null)
}

/** One purchase. @throws AppError `not_found`, also for another sponsor's purchase. */
export async function viewPurchase(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
): Promise<PurchaseBody> {
  const [body] = await viewPurchases(trx, caller, [purchaseId])
  const isForeign = caller.sponsorId !== null && body?.sponsor !== caller.sponsorId
  if (body === undefined || isForeign) throw notFound('purchase')
  return body
}

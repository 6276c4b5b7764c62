import type { z } from 'zod'
import { visibleName } from '../access/actor-names.ts'
import type { Tx } from '../db/connect.ts'
import { balancesOf, refundable } from '../payments/balances.ts'
import {
  NO_RECORDS,
  type PaymentAttempt,
  type PaymentRecords,
} from '../payments/payment-records.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { toTimestamp } from '../shared/time.ts'
import { NO_VOUCHERS, type VoucherCounts } from '../vouchers/voucher-counts.ts'
import { toVoucherConfig } from '../vouchers/voucher-terms.ts'
import type { BulkPurchase, PurchaseAggregate } from './purchase-aggregate.ts'
import { allowedActions } from './purchase-aggregate.ts'
import type { purchasePaymentsSchema } from './purchase-history-schemas.ts'
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

export type PaymentsBody = z.infer<typeof purchasePaymentsSchema>

/** The payments of a purchase as the API shows them. A sponsor does not see why a refund failed. */
export function toPaymentsBody(records: PaymentRecords, isSponsor: boolean): PaymentsBody {
  const { attempts, payments, disputes } = records
  return {
    object: 'purchase_payments',
    attempts: attempts.map((attempt) => ({
      attempt: attempt.attempt,
      kind: attempt.kind,
      state: attempt.state,
      session_id: attempt.sessionId,
      payment_intent: attempt.paymentIntentId,
      expires_at: toTimestamp(attempt.expiresAt),
      failure: attempt.failure,
      created_at: toTimestamp(attempt.createdAt),
    })),
    payments: balancesOf(records).map((balance) => {
      const stored = payments.find(({ paymentIntent }) => paymentIntent === balance.paymentIntent)
      return {
        id: balance.paymentIntent,
        kind: balance.isRecorded ? 'recorded' : 'stripe',
        status: stored?.status ?? 'succeeded',
        attempt: stored?.attempt ?? null,
        amount_received: balance.received,
        amount_refunded: balance.refunded,
        amount_refundable: refundable(balance),
        amount_lost: balance.lost,
        currency: balance.currency,
        disputed: balance.disputed,
      }
    }),
    refunds: toRefunds(records, isSponsor),
    disputes: disputes.map(({ paymentIntent, ...dispute }) => ({
      ...dispute,
      payment: paymentIntent,
    })),
  }
}

function toRefunds(
  { payments, refunds, requests, recorded }: PaymentRecords,
  isSponsor: boolean,
): PaymentsBody['refunds'] {
  const listed = new Set(refunds.map(({ id }) => id))
  const atStripe = refunds.map(({ paymentIntent, failureReason, ...refund }) => ({
    ...refund,
    payment: paymentIntent,
    failure_reason: isSponsor ? null : failureReason,
  }))
  // A request that Stripe made a refund of is that refund.
  const requested = requests
    .filter(({ refundId }) => refundId === null || !listed.has(refundId))
    .map((request) => ({
      id: request.refundId,
      payment: request.paymentIntent,
      status: request.state === 'refused' ? ('refused' as const) : ('requested' as const),
      amount: request.amount,
      currency:
        payments.find(({ paymentIntent }) => paymentIntent === request.paymentIntent)?.currency ??
        '',
      reason: request.reason,
      failure_reason: isSponsor ? null : request.refusal,
    }))
  const booked = (recorded?.refunds ?? []).map((refund) => ({
    ...refund,
    payment: recorded?.id ?? '',
    status: 'succeeded' as const,
    currency: recorded?.currency ?? '',
    failure_reason: null,
  }))
  return [...atStripe, ...requested, ...booked]
}

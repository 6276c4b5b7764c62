import type Stripe from 'stripe'
import type { RefundParams, RefundResult } from '../payments/payment-gateway.ts'
import type { PurchaseRef } from '../purchases/purchase-store.ts'
import { toStripeAmount } from '../shared/money.ts'
import { isStoredError } from './stripe-checkout.ts'
import { callStripe, isRefusal, refusalMessage, toAppError } from './stripe-errors.ts'
import { parseStripeObject, refundObject } from './stripe-objects.ts'

const REASONS = ['duplicate', 'fraudulent', 'requested_by_customer'] as const

function refundParams(ref: PurchaseRef, order: RefundParams): Stripe.RefundCreateParams {
  const reason = REASONS.find((known) => known === order.reason)
  return {
    payment_intent: order.paymentIntent,
    amount: toStripeAmount(order.amount, order.currency),
    ...(reason === undefined ? {} : { reason }),
    metadata: {
      purchase_id: ref.purchaseId,
      conference_id: ref.conferenceId,
      refund_request: order.requestId,
    },
  }
}

/** Asks Stripe for a refund. @throws AppError `stripe_…` after an unknown outcome. */
export async function requestRefund(
  stripe: Stripe,
  ref: PurchaseRef,
  order: RefundParams,
): Promise<RefundResult> {
  const idempotencyKey = `bp:${ref.purchaseId}:refund:${order.requestId}`
  try {
    const answer = await stripe.refunds.create(refundParams(ref, order), { idempotencyKey })
    return { kind: 'accepted', refundId: parseStripeObject(refundObject, answer, 'refund').id }
  } catch (error) {
    if (isStoredError(error)) return findRefund(stripe, order, refusalMessage(error))
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

/**
 * A stored error says nothing about the money: the refund may exist all the same, and "refused"
 * would invite a second one. So we look for it by the request's id.
 */
async function findRefund(
  stripe: Stripe,
  order: RefundParams,
  message: string,
): Promise<RefundResult> {
  const refunds = stripe.refunds.list({ payment_intent: order.paymentIntent, limit: 100 })
  const found = await callStripe(async () => {
    for await (const candidate of refunds) {
      if (candidate.metadata?.['refund_request'] === order.requestId) return candidate.id
    }
    return null
  })
  return found === null ? { kind: 'refused', message } : { kind: 'accepted', refundId: found }
}

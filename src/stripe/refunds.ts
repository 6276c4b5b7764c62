import type Stripe from 'stripe'
import type { PurchaseRef } from '../purchases/bulk-purchase.ts'
import type { RefundOrder, RefundResult } from '../purchases/payment-gateway.ts'
import { toStripeAmount } from '../shared/money.ts'
import { isStoredError } from './checkout.ts'
import { askStripe, isRefusal, refusalMessage, toAppError } from './stripe-errors.ts'
import { parseAnswer, refundObject } from './stripe-objects.ts'

const REASONS = ['duplicate', 'fraudulent', 'requested_by_customer'] as const

function refundParams(ref: PurchaseRef, order: RefundOrder): Stripe.RefundCreateParams {
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
export async function refund(
  stripe: Stripe,
  ref: PurchaseRef,
  order: RefundOrder,
): Promise<RefundResult> {
  const idempotencyKey = `bp:${ref.purchaseId}:refund:${order.requestId}`
  try {
    const answer = await stripe.refunds.create(refundParams(ref, order), { idempotencyKey })
    return { kind: 'accepted', refundId: parseAnswer(refundObject, answer, 'refund').id }
  } catch (error) {
    if (isStoredError(error)) return afterStoredError(stripe, order, refusalMessage(error))
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

/**
 * A stored error says nothing about the money: the refund may exist all the same, and "refused"
 * would invite a second one. So we look for it by the request's id.
 */
async function afterStoredError(
  stripe: Stripe,
  order: RefundOrder,
  message: string,
): Promise<RefundResult> {
  const refunds = stripe.refunds.list({ payment_intent: order.paymentIntent, limit: 100 })
  const found = await askStripe(async () => {
    for await (const candidate of refunds) {
      if (candidate.metadata?.['refund_request'] === order.requestId) return candidate.id
    }
    return null
  })
  return found === null ? { kind: 'refused', message } : { kind: 'accepted', refundId: found }
}

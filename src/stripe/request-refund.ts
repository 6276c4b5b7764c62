import type Stripe from 'stripe'
import type { RefundParams, RefundResult } from '../payments/payment-gateway.ts'
import { toStripeAmount } from '../shared/money.ts'
import {
  callStripe,
  isRefusal,
  isStoredError,
  refusalMessage,
  toAppError,
} from './stripe-errors.ts'
import { parseStripeObject, refundObject } from './stripe-objects.ts'

const REASONS = ['duplicate', 'fraudulent', 'requested_by_customer'] as const

/**
 * Requests a refund from Stripe.
 *
 * @param owner - metadata that names the purchase or charge.
 * @throws AppError `stripe_…` after an unknown outcome; a retry with the same key is safe.
 */
export async function requestRefund(
  stripe: Stripe,
  order: RefundParams,
  owner: Record<string, string>,
  idempotencyKey: string,
): Promise<RefundResult> {
  const reason = REASONS.find((known) => known === order.reason)
  try {
    const response = await stripe.refunds.create(
      {
        payment_intent: order.paymentIntent,
        amount: toStripeAmount(order.amount, order.currency),
        ...(reason === undefined ? {} : { reason }),
        metadata: { ...owner, refund_request: order.requestId },
      },
      { idempotencyKey },
    )
    return {
      kind: 'accepted',
      refundId: parseStripeObject(refundObject, response, 'refund').id,
    }
  } catch (error) {
    if (isStoredError(error)) return afterStoredError(stripe, order, refusalMessage(error))
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

/**
 * A stored error does not prove that no refund was created, and `refused` would lead to a second
 * refund. So the refunds of the payment are searched for this request's id.
 */
async function afterStoredError(
  stripe: Stripe,
  order: RefundParams,
  message: string,
): Promise<RefundResult> {
  const refunds = stripe.refunds.list({ payment_intent: order.paymentIntent, limit: 100 })
  const refundId = await callStripe(async () => {
    for await (const refund of refunds) {
      if (refund.metadata?.['refund_request'] === order.requestId) return refund.id
    }
    return null
  })
  return refundId === null ? { kind: 'refused', message } : { kind: 'accepted', refundId }
}

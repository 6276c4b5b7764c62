import type Stripe from 'stripe'
import type { OpenedSession, RefundParams } from '../payments/payment-gateway.ts'
import { toStripeAmount } from '../shared/money.ts'
import {
  callStripe,
  isRefusal,
  isStoredError,
  type Refusal,
  refusalMessage,
  toAppError,
  toRefusal,
} from './stripe-errors.ts'
import {
  parseStripeObject,
  paymentIntentObject,
  refundObject,
  sessionObject,
} from './stripe-objects.ts'

export type OpenCheckoutResult = { kind: 'opened'; session: OpenedSession } | Refusal

export type RefundResult =
  | { kind: 'accepted'; refundId: string }
  | { kind: 'refused'; message: string }

/** Parameters of every Checkout session: the payer sees exactly our amount in our currency. */
export const FIXED_AMOUNT = {
  // Overrides the dashboard's setting, with which Stripe would convert the currency.
  adaptive_pricing: { enabled: false },
  allow_promotion_codes: false,
} as const satisfies Stripe.Checkout.SessionCreateParams

/**
 * Opens a Checkout session, or returns the refusal.
 *
 * @throws AppError `stripe_…` after an unknown outcome; a retry with the same key is safe.
 * @see https://docs.stripe.com/api/checkout/sessions/create
 */
export async function createCheckoutSession(
  stripe: Stripe,
  params: Stripe.Checkout.SessionCreateParams,
  idempotencyKey: string,
): Promise<OpenCheckoutResult> {
  try {
    const response = await stripe.checkout.sessions.create(params, { idempotencyKey })
    const session = parseStripeObject(sessionObject, response, 'checkout session')
    const expiresAt = new Date(session.expires_at * 1000)
    return { kind: 'opened', session: { sessionId: session.id, url: session.url, expiresAt } }
  } catch (error) {
    return toRefusal(error)
  }
}

/**
 * Expires a Checkout session, so that it cannot be paid any more. Stripe refuses this unless the
 * session is open; then the session is fetched to find out whether it is expired or complete.
 *
 * @throws AppError `stripe_…`
 * @see https://docs.stripe.com/api/checkout/sessions/expire
 */
export async function closeCheckout(
  stripe: Stripe,
  sessionId: string,
): Promise<'expired' | 'complete'> {
  try {
    await stripe.checkout.sessions.expire(sessionId)
    return 'expired'
  } catch (error) {
    if (!isRefusal(error)) throw toAppError(error)
    const response = await callStripe(() => stripe.checkout.sessions.retrieve(sessionId))
    const { status } = parseStripeObject(sessionObject, response, 'checkout session')
    if (status === 'open') throw toAppError(error)
    return status
  }
}

export type IntentParams = {
  /** Minor units of `currency`. */
  amount: number
  currency: string
  customer: string
  paymentMethod: string
  description: string
  statementDescriptorSuffix: string | null
  metadata: Record<string, string>
}

/** A refused intent may exist at Stripe all the same: an intent that is not confirmed charges nothing. */
export type CreateIntentResult = { kind: 'made'; paymentIntent: string } | Refusal

/**
 * Creates a payment intent without confirming it, so that its id can be saved before money moves.
 *
 * @throws AppError `stripe_…` after an unknown outcome; a retry with the same key gets the same intent.
 * @see https://docs.stripe.com/payments/paymentintents/lifecycle
 */
export async function createIntent(
  stripe: Stripe,
  params: IntentParams,
  idempotencyKey: string,
): Promise<CreateIntentResult> {
  try {
    const response = await stripe.paymentIntents.create(
      {
        amount: toStripeAmount(params.amount, params.currency),
        currency: params.currency.toLowerCase(),
        customer: params.customer,
        payment_method: params.paymentMethod,
        description: params.description,
        metadata: params.metadata,
        // The payer is not present, so payment methods that redirect the payer cannot work.
        automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
        ...(params.statementDescriptorSuffix === null
          ? {}
          : { statement_descriptor_suffix: params.statementDescriptorSuffix }),
      },
      { idempotencyKey },
    )
    const intent = parseStripeObject(paymentIntentObject, response, 'payment intent')
    return { kind: 'made', paymentIntent: intent.id }
  } catch (error) {
    return toRefusal(error)
  }
}

/**
 * Charges the intent's own payment method without the payer. Returns the error or null; the caller
 * fetches the intent to learn the outcome.
 *
 * The payment method is not sent again. A declined intent has no payment method any more, so a second
 * confirmation in flight cannot charge the card again.
 */
export async function confirmIntent(
  stripe: Stripe,
  paymentIntent: string,
  idempotencyKey: string,
): Promise<unknown> {
  try {
    await stripe.paymentIntents.confirm(paymentIntent, { off_session: true }, { idempotencyKey })
    return null
  } catch (error) {
    return toAppError(error)
  }
}

/**
 * Cancels an intent, so that it cannot be charged any more.
 *
 * @returns `charged` when it is paid or processing already.
 * @throws AppError `stripe_…`
 */
export async function closeIntent(
  stripe: Stripe,
  paymentIntent: string,
): Promise<'canceled' | 'charged'> {
  const before = await fetchEnd(stripe, paymentIntent)
  // A bank debit that is processing is not canceled, although Stripe may allow it.
  if (before !== null) return before
  try {
    await stripe.paymentIntents.cancel(paymentIntent)
    return 'canceled'
  } catch (error) {
    const after = isRefusal(error) ? await fetchEnd(stripe, paymentIntent) : null
    if (after !== null) return after
    throw toAppError(error)
  }
}

/** How the intent ended; null while it can still be charged. */
async function fetchEnd(stripe: Stripe, id: string): Promise<'canceled' | 'charged' | null> {
  const response = await callStripe(() => stripe.paymentIntents.retrieve(id))
  const { status } = parseStripeObject(paymentIntentObject, response, 'payment intent')
  if (status === 'canceled') return 'canceled'
  return status === 'processing' || status === 'succeeded' ? 'charged' : null
}

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

import type Stripe from 'stripe'
import type { FoundSession, OpenCheckoutResult } from '../payments/payment-gateway.ts'
import { callStripe, fetchOrNull, isRefusal, toAppError, toRefusal } from './stripe-errors.ts'
import { parseStripeObject, sessionObject } from './stripe-objects.ts'

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

/** Fetches a session. Null: Stripe has none of this id. @throws AppError `stripe_…` */
export async function findSession(stripe: Stripe, sessionId: string): Promise<FoundSession | null> {
  const response = await fetchOrNull(() => stripe.checkout.sessions.retrieve(sessionId))
  if (response === null) return null
  const session = parseStripeObject(sessionObject, response, 'checkout session')
  return {
    reference: session.client_reference_id,
    metadata: session.metadata,
    url: session.url,
    expiresAt: new Date(session.expires_at * 1000),
  }
}

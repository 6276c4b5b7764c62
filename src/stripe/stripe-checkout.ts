import Stripe from 'stripe'
import type { OpenCheckoutResult } from '../payments/payment-gateway.ts'
import type { CheckoutParams } from '../purchases/payment-attempt-store.ts'
import type { PurchaseRef } from '../purchases/purchase-store.ts'
import { toStripeAmount } from '../shared/money.ts'
import { callStripe, isRefusal, refusalMessage, toAppError } from './stripe-errors.ts'
import { parseStripeObject, sessionObject } from './stripe-objects.ts'

type Metadata = Record<string, string>

/** By this our webhooks, and people in Stripe's dashboard, know whose an object is. */
export function purchaseMetadata(
  ref: PurchaseRef,
  attempt: number,
  sponsorId: string | null,
): Metadata {
  return {
    purchase_id: ref.purchaseId,
    conference_id: ref.conferenceId,
    attempt: String(attempt),
    // An absent sponsor must not become the text "null".
    ...(sponsorId === null ? {} : { sponsor_id: sponsorId }),
  }
}

/**
 * The request for a session. Price and quantity are ours and fixed: whatever the dashboard says of
 * adaptive pricing, the payer sees the purchase's currency, and neither a promotion code nor another
 * quantity can change the total.
 */
function sessionParams(
  ref: PurchaseRef,
  attempt: number,
  params: CheckoutParams,
): Stripe.Checkout.SessionCreateParams {
  const metadata = purchaseMetadata(ref, attempt, params.sponsorId)
  return {
    mode: 'payment',
    line_items: [
      {
        price_data: {
          currency: params.currency.toLowerCase(),
          unit_amount: toStripeAmount(params.unitAmount, params.currency),
          product_data: { name: params.description, metadata },
        },
        quantity: params.quantity,
      },
    ],
    client_reference_id: ref.purchaseId,
    metadata,
    payment_intent_data: { metadata },
    adaptive_pricing: { enabled: false },
    allow_promotion_codes: false,
    success_url: params.successUrl,
    cancel_url: params.cancelUrl,
    ...(params.invoiceCreation ? { invoice_creation: { enabled: true } } : {}),
    ...(params.taxIdCollection ? { tax_id_collection: { enabled: true } } : {}),
    ...(params.contactEmail === null ? {} : { customer_email: params.contactEmail }),
    ...(params.expiresAt === null ? {} : { expires_at: params.expiresAt }),
  }
}

/**
 * True when Stripe answered from what it keeps under the idempotency key, or will not take the key
 * for this request: asking again under the same key can never end otherwise. A 500 that is met for
 * the first time is not that yet. The SDK repeats 5xx by itself and shows the last answer.
 *
 * @see https://docs.stripe.com/api/idempotent_requests
 */
export function isStoredError(error: unknown): error is Stripe.errors.StripeError {
  if (!(error instanceof Stripe.errors.StripeError)) return false
  if (error instanceof Stripe.errors.StripeIdempotencyError) return true
  const isServerError = error.statusCode !== undefined && error.statusCode >= 500
  return isServerError && error.headers?.['idempotent-replayed'] === 'true'
}

/** Opens the attempt's session, or tells why there will be none. @throws AppError `stripe_…` */
export async function openCheckout(
  stripe: Stripe,
  ref: PurchaseRef,
  attempt: number,
  params: CheckoutParams,
): Promise<OpenCheckoutResult> {
  const idempotencyKey = `bp:${ref.purchaseId}:checkout:${attempt}`
  try {
    const answer = await stripe.checkout.sessions.create(sessionParams(ref, attempt, params), {
      idempotencyKey,
    })
    const session = parseStripeObject(sessionObject, answer, 'checkout session')
    return {
      kind: 'opened',
      session: {
        sessionId: session.id,
        url: session.url,
        expiresAt: new Date(session.expires_at * 1000),
      },
    }
  } catch (error) {
    if (isStoredError(error)) {
      return { kind: 'refused', message: refusalMessage(error), storedError: true }
    }
    if (isRefusal(error)) {
      return { kind: 'refused', message: refusalMessage(error), storedError: false }
    }
    throw toAppError(error)
  }
}

/**
 * Expires the session. Stripe refuses that unless it is open, and then the session itself tells what
 * it is. @see https://docs.stripe.com/api/checkout/sessions/expire
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
    const answer = await callStripe(() => stripe.checkout.sessions.retrieve(sessionId))
    const { status } = parseStripeObject(sessionObject, answer, 'checkout session')
    if (status === 'open') throw toAppError(error)
    return status
  }
}

import type Stripe from 'stripe'
import type { RefundSnapshot } from '../../payments/payment-snapshot.ts'
import { fromStripeAmount } from '../../shared/money.ts'
import { callStripe } from '../../stripe/stripe-errors.ts'
import {
  declineOf,
  parseStripeObject,
  paymentIntentObject,
  refundObject,
  sessionObject,
} from '../../stripe/stripe-objects.ts'
import { type ChargeAttempt, isOver } from './charge-attempt-store.ts'
import type { ChargeRef } from './charge-store.ts'

/** What Stripe returned about one attempt. Amounts in our minor units. */
export type AttemptSnapshot = {
  attempt: number
  session: {
    id: string
    status: 'open' | 'complete' | 'expired'
    paid: boolean
    url: string | null
    expiresAt: Date
  } | null
  intent: {
    id: string
    status: string
    received: number
    decline: { code: string; message: string } | null
  } | null
  refunds: { id: string; status: RefundSnapshot['status']; amount: number }[]
}

/**
 * Fetches the sessions, intents and refunds of all attempts that have not ended without a payment.
 *
 * @throws AppError `stripe_…`
 */
export async function fetchAttempts(
  stripe: Stripe,
  ref: ChargeRef,
  attempts: readonly ChargeAttempt[],
  hintedSession: string | null,
): Promise<AttemptSnapshot[]> {
  const snapshots: AttemptSnapshot[] = []
  for (const attempt of attempts.filter((one) => !isOver(one))) {
    // The hint serves an attempt whose session id was never saved.
    const id = attempt.params.kind === 'checkout' ? (attempt.sessionId ?? hintedSession) : null
    const found = id === null ? null : await fetchSession(stripe, ref, attempt.attempt, id)
    const intent = found?.intent ?? attempt.paymentIntentId
    snapshots.push({
      attempt: attempt.attempt,
      session: found?.session ?? null,
      ...(intent === null ? { intent: null, refunds: [] } : await fetchPayment(stripe, intent)),
    })
  }
  return snapshots
}

async function fetchSession(stripe: Stripe, ref: ChargeRef, attempt: number, id: string) {
  const response = await callStripe(() => stripe.checkout.sessions.retrieve(id))
  const session = parseStripeObject(sessionObject, response, 'checkout session')
  const { metadata } = session
  const belongsToAttempt =
    metadata['charge_id'] === ref.chargeId &&
    metadata['conference_id'] === ref.conferenceId &&
    metadata['attempt'] === String(attempt)
  if (!belongsToAttempt) return null
  return {
    intent: session.payment_intent,
    session: {
      id,
      status: session.status,
      paid: session.payment_status !== 'unpaid',
      url: session.url,
      expiresAt: new Date(session.expires_at * 1000),
    },
  }
}

async function fetchPayment(stripe: Stripe, id: string) {
  const response = await callStripe(() => stripe.paymentIntents.retrieve(id))
  const intent = parseStripeObject(paymentIntentObject, response, 'payment intent')
  return {
    intent: {
      id,
      status: intent.status,
      received: fromStripeAmount(intent.amount_received, intent.currency),
      decline: declineOf(intent.last_payment_error),
    },
    refunds: intent.amount_received === 0 ? [] : await fetchRefunds(stripe, id),
  }
}

async function fetchRefunds(stripe: Stripe, paymentIntent: string) {
  const refunds = await callStripe(() =>
    stripe.refunds
      .list({ payment_intent: paymentIntent, limit: 100 })
      .autoPagingToArray({ limit: 10_000 }),
  )
  return refunds.map((response) => {
    const { id, status, amount, currency } = parseStripeObject(refundObject, response, 'refund')
    return { id, status, amount: fromStripeAmount(amount, currency) }
  })
}

import type Stripe from 'stripe'
import type { RefundFact } from '../../../purchases/payment-facts.ts'
import { fromStripeAmount } from '../../../shared/money.ts'
import { askStripe } from '../../stripe-errors.ts'
import {
  parseAnswer,
  paymentIntentObject,
  refundObject,
  sessionObject,
} from '../../stripe-objects.ts'
import type { ChargeRef } from './charge.ts'
import { type ChargeAttempt, isOver } from './charge-attempt.ts'

/** What Stripe says now of one try. Amounts in our minor units. */
export type AttemptFact = {
  attempt: number
  /** Of a Checkout link. */
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
  refunds: { id: string; status: RefundFact['status']; amount: number }[]
}

/**
 * Reads what Stripe says of a charge's tries: sessions, intents and the listed refunds themselves.
 *
 * @param hintedSession a session that an event spoke of, for a try whose answer we never got.
 * @throws AppError `stripe_…`
 */
export async function readAttempts(
  stripe: Stripe,
  ref: ChargeRef,
  attempts: readonly ChargeAttempt[],
  hintedSession: string | null,
): Promise<AttemptFact[]> {
  const facts: AttemptFact[] = []
  for (const attempt of attempts.filter((one) => !isOver(one))) {
    const wanted = attempt.params.kind === 'checkout' ? (attempt.sessionId ?? hintedSession) : null
    const found = wanted === null ? null : await readSession(stripe, ref, attempt.attempt, wanted)
    const intent = found?.intent ?? attempt.paymentIntentId
    facts.push({
      attempt: attempt.attempt,
      session: found?.session ?? null,
      ...(intent === null ? { intent: null, refunds: [] } : await readMoney(stripe, intent)),
    })
  }
  return facts
}

async function readSession(stripe: Stripe, ref: ChargeRef, attempt: number, id: string) {
  const answer = await askStripe(() => stripe.checkout.sessions.retrieve(id))
  const session = parseAnswer(sessionObject, answer, 'checkout session')
  const { metadata } = session
  const isOurs =
    metadata['charge_id'] === ref.chargeId &&
    metadata['conference_id'] === ref.conferenceId &&
    metadata['attempt'] === String(attempt)
  if (!isOurs) return null
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

async function readMoney(stripe: Stripe, id: string) {
  const answer = await askStripe(() => stripe.paymentIntents.retrieve(id))
  const intent = parseAnswer(paymentIntentObject, answer, 'payment intent')
  return {
    intent: {
      id,
      status: intent.status,
      received: fromStripeAmount(intent.amount_received, intent.currency),
      decline: declineOf(intent.last_payment_error),
    },
    refunds: intent.amount_received === 0 ? [] : await readRefunds(stripe, id),
  }
}

function declineOf(
  error: { code: string | null; decline_code: string | null; message: string | null } | null,
) {
  if (error === null) return null
  // Banks word the decline differently; what it asks for is the payer.
  const isForPayer = error.code === 'authentication_required'
  const code = (isForPayer ? error.code : error.decline_code) ?? error.code ?? 'payment_failed'
  return { code, message: error.message ?? 'The payment failed.' }
}

async function readRefunds(stripe: Stripe, paymentIntent: string) {
  const refunds = await askStripe(() =>
    stripe.refunds
      .list({ payment_intent: paymentIntent, limit: 100 })
      .autoPagingToArray({ limit: 10_000 }),
  )
  return refunds.map((answer) => {
    const { id, status, amount, currency } = parseAnswer(refundObject, answer, 'refund')
    return { id, status, amount: fromStripeAmount(amount, currency) }
  })
}

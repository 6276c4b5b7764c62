import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { type AttemptPayment, type CheckoutAttempt, updateAttempt } from './checkout-attempt.ts'
import type { PaymentFact, PaymentFacts, SessionFact } from './payment-facts.ts'
import type { Failure } from './purchase-machine.ts'

/** What a reading tells of one attempt that was not known before. */
export type AttemptNews = {
  opened: boolean
  pending: boolean
  decline: Failure | null
  failed: Failure | null
}

/**
 * Where the money of a session stands. `processing` is a bank debit under way; `requires_action` on
 * a complete session is a bank transfer that has not (or only partly) arrived.
 * @see https://docs.stripe.com/payments/paymentintents/lifecycle
 */
function paymentOf(session: SessionFact, payment: PaymentFact | undefined): AttemptPayment {
  if (session.paid || (payment !== undefined && payment.received > 0)) return 'paid'
  if (session.status !== 'complete') return 'none'
  const isOver = payment?.status === 'requires_payment_method' || payment?.status === 'canceled'
  return isOver ? 'failed' : 'pending'
}

/** Writes each session's state on its attempt and returns the news, oldest attempt first. */
export async function saveSessions(
  trx: Tx,
  ref: PurchaseRef,
  attempts: CheckoutAttempt[],
  facts: PaymentFacts,
): Promise<AttemptNews[]> {
  const news: AttemptNews[] = []
  for (const session of facts.sessions.toSorted((a, b) => a.attempt - b.attempt)) {
    const before = attempts.find(({ attempt }) => attempt === session.attempt)
    if (before === undefined) continue
    const intent = session.paymentIntent
    const payment = facts.payments.find(({ paymentIntent }) => paymentIntent === intent)
    const state = paymentOf(session, payment)
    const decline = payment?.decline ?? null
    await updateAttempt(trx, ref, session.attempt, {
      state: session.status,
      session_id: session.sessionId,
      url: session.url ?? before.url,
      expires_at: session.expiresAt,
      payment_intent_id: intent ?? before.paymentIntentId,
      payment: state,
      decline: decline?.fact ?? before.decline,
    })
    const isNewDecline = decline !== null && decline.fact !== before.decline
    news.push({
      opened: before.state === 'creating' && session.status === 'open',
      pending: state === 'pending' && before.payment !== 'pending',
      decline: isNewDecline && session.status === 'open' ? decline : null,
      failed:
        state === 'failed' && before.payment !== 'failed'
          ? (decline ?? { code: 'async_payment_failed', message: 'The payment did not arrive.' })
          : null,
    })
  }
  return news
}

import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import {
  type AttemptPayment,
  type AttemptState,
  type CheckoutAttempt,
  updateAttempt,
} from './checkout-attempt.ts'
import type { PaymentFact, PaymentFacts } from './payment-facts.ts'
import type { Failure } from './purchase-machine.ts'
import type { AttemptNews } from './save-sessions.ts'

/** The bank wants the payer there: a card that is charged without one cannot be more than declined. */
export const NEEDS_PAYER = 'authentication_required'

type Standing = { state: AttemptState; payment: AttemptPayment; failure: Failure | null }

/** @see https://docs.stripe.com/payments/paymentintents/lifecycle */
function standingOf({ status, received, decline }: PaymentFact): Standing {
  if (received > 0) return { state: 'complete', payment: 'paid', failure: null }
  switch (status) {
    case 'processing':
      return { state: 'complete', payment: 'pending', failure: null }
    case 'requires_action': {
      const failure = { code: NEEDS_PAYER, message: 'The bank asks for the payer.' }
      return { state: 'complete', payment: 'failed', failure }
    }
    case 'requires_payment_method':
      return { state: 'complete', payment: 'failed', failure: decline ?? NOT_CHARGED }
    case 'canceled':
      return { state: 'expired', payment: 'none', failure: decline ?? NOT_CHARGED }
    default:
      return { state: 'open', payment: 'none', failure: null }
  }
}

const NOT_CHARGED: Failure = {
  code: 'payment_canceled',
  message: 'The payment was given up before the card was charged.',
}

/** Writes what became of saved cards on their tries, and returns the news, oldest try first. */
export async function saveCards(
  trx: Tx,
  ref: PurchaseRef,
  attempts: CheckoutAttempt[],
  facts: PaymentFacts,
): Promise<AttemptNews[]> {
  const news: AttemptNews[] = []
  for (const before of attempts) {
    const fact = facts.payments.find(
      ({ paymentIntent }) => paymentIntent === before.paymentIntentId,
    )
    if (before.kind !== 'payment_intent' || fact === undefined) continue
    const { state, payment, failure } = standingOf(fact)
    // A declined intent that was closed afterwards has failed all the same. What we closed after this
    // reading began stays closed: only money undoes that.
    const wasOver =
      before.payment === 'failed' || before.state === 'refused' || before.state === 'expired'
    if (wasOver && payment !== 'paid' && payment !== 'pending') continue
    await updateAttempt(trx, ref, before.attempt, {
      state,
      payment,
      decline: fact.decline?.fact ?? before.decline,
    })
    const isNews = before.state !== state || before.payment !== payment
    news.push({
      opened: false,
      pending: isNews && payment === 'pending',
      decline: null,
      failed: isNews ? failure : null,
    })
  }
  return news
}

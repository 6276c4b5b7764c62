import type { PurchaseRef } from './bulk-purchase.ts'
import type { CheckoutParams } from './checkout-attempt.ts'
import type { PaymentFacts } from './payment-facts.ts'

/** A Checkout Session as Stripe opened it. */
export type OpenedSession = { sessionId: string; url: string | null; expiresAt: Date }

/**
 * `refused`: Stripe read the request and said no, or keeps an error under this attempt's idempotency
 * key; either way this attempt will never have a session. An unknown outcome is thrown instead.
 */
export type OpenCheckoutResult =
  | { kind: 'opened'; session: OpenedSession }
  | { kind: 'refused'; message: string; storedError: boolean }

export type RefundOrder = {
  requestId: string
  paymentIntent: string
  /** Minor units of `currency`. */
  amount: number
  currency: string
  reason: string | null
}

export type RefundResult =
  | { kind: 'accepted'; refundId: string }
  | { kind: 'refused'; message: string }

/** What to read for one purchase. */
export type FactsQuery = {
  ref: PurchaseRef
  sessions: { attempt: number; sessionId: string }[]
  paymentIntents: { paymentIntent: string; attempt: number | null }[]
  /**
   * Payments that an event spoke of and that we do not know: read only when Stripe's own object
   * names this purchase, such as one that staff took in Stripe's dashboard.
   */
  hintedPaymentIntents: string[]
  /** Also read Radar's early fraud warnings: only when an event spoke of one. */
  warnings: boolean
}

/**
 * What purchases need of Stripe. Implemented in stripe/; called outside every transaction. Each
 * method throws AppError `stripe_key_missing`, or `stripe_unavailable` / `stripe_failed` after an
 * unknown outcome, when a repeat with the same arguments is safe.
 */
export type PaymentGateway = {
  /** Idempotency key `bp:{id}:checkout:{attempt}`: a repeat returns the same session. */
  openCheckout(
    ref: PurchaseRef,
    attempt: number,
    params: CheckoutParams,
  ): Promise<OpenCheckoutResult>
  /** Makes sure that nobody can pay the session any more, or tells that somebody did. */
  closeCheckout(conferenceId: string, sessionId: string): Promise<'expired' | 'complete'>
  /** Idempotency key `bp:{id}:refund:{requestId}`. */
  refund(ref: PurchaseRef, order: RefundOrder): Promise<RefundResult>
  /** Reads the objects themselves, refunds and disputes as complete lists; never an event's copy. */
  readFacts(query: FactsQuery): Promise<PaymentFacts>
}

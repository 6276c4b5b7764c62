import type { CardParams, CheckoutParams } from '../purchases/payment-attempt-store.ts'
import type { PurchaseRef } from '../purchases/purchase-store.ts'
import type { PaymentSnapshot } from './payment-snapshot.ts'

/** A Checkout Session as Stripe opened it. */
export type OpenedSession = { sessionId: string; url: string | null; expiresAt: Date }

/**
 * `refused`: Stripe read the request and said no, or keeps an error under this attempt's idempotency
 * key; either way this attempt will never have a session. An unknown outcome is thrown instead.
 */
export type OpenCheckoutResult =
  | { kind: 'opened'; session: OpenedSession }
  | { kind: 'refused'; message: string; storedError: boolean }

/** A saved payment method and the customer at Stripe that has it. */
export type SavedCard = { customer: string; paymentMethod: string }

/** Which saved card a sponsor's payment goes to. Implemented in stripe/billing/. */
export type SavedCards = {
  /**
   * @param named the payment method that was asked for; null: the default.
   * @throws AppError `no_payment_method`, `validation_failed` for one that is not the sponsor's.
   */
  choose(conferenceId: string, sponsorId: string | null, named: string | null): Promise<SavedCard>
}

/** As with OpenCheckoutResult. An intent that nobody confirms charges nothing. */
export type OpenIntentResult =
  | { kind: 'made'; paymentIntent: string }
  | { kind: 'refused'; message: string; storedError: boolean }

export type RefundParams = {
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
export type SnapshotQuery = {
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
  /** An intent that is not confirmed; idempotency key `bp:{id}:pay:{attempt}`. */
  openIntent(
    ref: PurchaseRef,
    attempt: number,
    params: CardParams,
    card: SavedCard,
  ): Promise<OpenIntentResult>
  /**
   * Charges the intent's card without the payer. Returns what went wrong, or null; what came of it
   * is for a reading to say. Idempotency key `bp:{id}:pay:{attempt}:confirm:{confirms}`.
   */
  confirmIntent(
    ref: PurchaseRef,
    attempt: number,
    confirms: number,
    paymentIntent: string,
  ): Promise<unknown>
  /** Makes sure that nobody can charge the intent any more, or tells that it was charged. */
  closeIntent(conferenceId: string, paymentIntent: string): Promise<'canceled' | 'charged'>
  /** Idempotency key `bp:{id}:refund:{requestId}`. */
  refund(ref: PurchaseRef, order: RefundParams): Promise<RefundResult>
  /** Reads the objects themselves, refunds and disputes as complete lists; never an event's copy. */
  readFacts(query: SnapshotQuery): Promise<PaymentSnapshot>
}

import type { PaymentSnapshot } from './payment-snapshot.ts'

/** Names one purchase of one tenant. */
export type PurchaseRef = { conferenceId: string; purchaseId: string }

/**
 * Every parameter of a Checkout Session. They are stored with the attempt, so that a retry sends the
 * same request. Amounts are in our minor units.
 */
export type CheckoutParams = {
  successUrl: string
  cancelUrl: string
  description: string
  quantity: number
  unitAmount: number
  currency: string
  sponsorId: string | null
  contactEmail: string | null
  /** Unix seconds. Null: Stripe's default of 24 hours. */
  expiresAt: number | null
  invoiceCreation: boolean
  taxIdCollection: boolean
}

/** Every parameter of a payment by a saved card, stored with the attempt in the same way. */
export type CardParams = {
  description: string
  /** The purchase's total. */
  amount: number
  currency: string
  sponsorId: string | null
  /** The payment method that the caller named. Null: the sponsor's default. */
  named: string | null
}

/** A Checkout Session that Stripe opened. */
export type OpenedSession = { sessionId: string; url: string | null; expiresAt: Date }

/**
 * `refused`: Stripe rejected the request, or stores an error under this attempt's idempotency key
 * (`storedError`). In both cases this attempt never gets a session. An unknown outcome is thrown.
 */
export type OpenCheckoutResult =
  | { kind: 'opened'; session: OpenedSession }
  | { kind: 'refused'; message: string; storedError: boolean }

/** A Checkout Session that an event named, and what its metadata says. */
export type FoundSession = {
  /** `client_reference_id`. */
  reference: string | null
  metadata: Readonly<Record<string, string>>
  url: string | null
  expiresAt: Date
}

/** A saved payment method and the Stripe customer that it belongs to. */
export type SavedCard = { customer: string; paymentMethod: string }

/** Chooses the saved card of a sponsor. Implemented in billing/. */
export type SavedCards = {
  /**
   * @param named the payment method that the caller named. Null: the sponsor's default.
   * @throws AppError `no_payment_method`; `validation_failed` for another sponsor's payment method.
   */
  choose(conferenceId: string, sponsorId: string | null, named: string | null): Promise<SavedCard>
}

/** As `OpenCheckoutResult`. An intent that is not confirmed charges nothing. */
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

/** The objects to fetch for the snapshot of one purchase. */
export type SnapshotQuery = {
  ref: PurchaseRef
  sessions: { attempt: number; sessionId: string }[]
  paymentIntents: { paymentIntent: string; attempt: number | null }[]
  /**
   * Payments that an event named and that we have no row of, such as one that staff took in Stripe's
   * dashboard. They count only if their metadata at Stripe names this purchase.
   */
  hintedPaymentIntents: string[]
  /** Whether to fetch Radar's early fraud warnings too. */
  warnings: boolean
}

/**
 * What purchases need from Stripe. Implemented in stripe/; called outside every transaction. Each
 * method throws AppError `stripe_key_missing`, and `stripe_unavailable` or `stripe_failed` after an
 * unknown outcome: then it is safe to call it again with the same arguments.
 */
export type PaymentGateway = {
  /** Idempotency key `bp:{id}:checkout:{attempt}`: a retry returns the same session. */
  openCheckout(
    ref: PurchaseRef,
    attempt: number,
    params: CheckoutParams,
  ): Promise<OpenCheckoutResult>
  /** Expires the session. `complete`: it was completed before, so it cannot expire. */
  closeCheckout(conferenceId: string, sessionId: string): Promise<'expired' | 'complete'>
  /** Null: Stripe has no such session. */
  findSession(conferenceId: string, sessionId: string): Promise<FoundSession | null>
  /** Creates an intent without confirming it. Idempotency key `bp:{id}:pay:{attempt}`. */
  openIntent(
    ref: PurchaseRef,
    attempt: number,
    params: CardParams,
    card: SavedCard,
  ): Promise<OpenIntentResult>
  /**
   * Charges the intent's card off-session. Returns the error, or null; only a snapshot says what
   * happened to the payment. Idempotency key `bp:{id}:pay:{attempt}:confirm:{confirms}`.
   */
  confirmIntent(
    ref: PurchaseRef,
    attempt: number,
    confirms: number,
    paymentIntent: string,
  ): Promise<unknown>
  /** Cancels the intent. `charged`: it was charged before, so it cannot be cancelled. */
  closeIntent(conferenceId: string, paymentIntent: string): Promise<'canceled' | 'charged'>
  /** Idempotency key `bp:{id}:refund:{requestId}`. */
  refund(ref: PurchaseRef, params: RefundParams): Promise<RefundResult>
  /** Fetches the objects themselves, refunds and disputes as complete lists; never an event's copy. */
  fetchSnapshot(query: SnapshotQuery): Promise<PaymentSnapshot>
}

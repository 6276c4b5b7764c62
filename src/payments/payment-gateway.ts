import type { Failure, PaymentAttempt, PaymentOwner } from './payment-records.ts'
import type { PaymentSnapshot, SessionSnapshot } from './payment-snapshot.ts'

/** A Checkout session that Stripe opened. */
export type OpenedSession = { sessionId: string; url: string | null; expiresAt: Date }

/**
 * Stripe proved that it made nothing. `storedError`: it stores an error under this attempt's idempotency
 * key; another attempt may succeed.
 */
export type RefusedResult = { kind: 'refused'; message: string; storedError: boolean }

/** `status`: an earlier request may have made the session, which has ended since then. */
export type OpenCheckoutResult =
  | { kind: 'made'; session: OpenedSession; status: SessionSnapshot['status'] }
  | RefusedResult

/** `complete`: the payer completed it first, so it cannot expire. Its payment may be pending. */
export type ClosedSession =
  | { status: 'expired' }
  | { status: 'complete'; paymentIntent: string | null }

/** An intent that is not confirmed charges nothing. */
export type OpenIntentResult = { kind: 'made'; paymentIntent: string } | RefusedResult

export type RefundResult = { kind: 'made'; refundId: string } | RefusedResult

/** A Checkout session that an event named, and what its metadata says. */
export type FoundSession = {
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

export type RefundParams = {
  requestId: string
  paymentIntent: string
  /** Minor units of `currency`. */
  amount: number
  currency: string
  reason: string | null
}

/** The objects to fetch for a snapshot. */
export type SnapshotQuery = {
  owner: PaymentOwner
  /** A time before all requests, in microseconds since 1970 by the database's clock. */
  takenAt: number
  sessions: { attempt: number; sessionId: string }[]
  paymentIntents: { paymentIntent: string; attempt: number | null }[]
  /**
   * Payments that an event named and that we have no row of, such as one that staff took in Stripe's
   * dashboard. They count only if their metadata at Stripe names this owner.
   */
  hintedPaymentIntents: string[]
  /** Whether to fetch Radar's early fraud warnings too. */
  warnings: boolean
}

/** An attempt whose session or intent is requested. */
type RequestedAttempt<Kind extends PaymentAttempt['kind']> = Pick<
  Extract<PaymentAttempt, { kind: Kind }>,
  'attempt' | 'params' | 'createdAt'
>

/**
 * What purchases and charges need from Stripe. Implemented in stripe/; called outside every transaction.
 * `askedBefore`: an earlier request for the same attempt or refund may have reached Stripe; false only
 * in the run that inserted its row. Each method throws AppError `stripe_key_missing`, and
 * `stripe_key_rejected`, `stripe_unavailable` or `stripe_failed` after an unknown outcome: then it is
 * safe to call it again with the same arguments.
 */
export type PaymentGateway = {
  /** @param customer Stripe's id of the customer. Null: the payer gives an e-mail address. */
  openCheckout(
    owner: PaymentOwner,
    attempt: RequestedAttempt<'checkout'>,
    options: { customer: string | null; askedBefore: boolean },
  ): Promise<OpenCheckoutResult>
  /** Expires the session. */
  closeCheckout(conferenceId: string, sessionId: string): Promise<ClosedSession>
  /** Null: Stripe has no such session. */
  findSession(conferenceId: string, sessionId: string): Promise<FoundSession | null>
  /** Creates an intent without confirming it. */
  openIntent(
    owner: PaymentOwner,
    attempt: RequestedAttempt<'saved_card'>,
    options: { card: SavedCard; askedBefore: boolean },
  ): Promise<OpenIntentResult>
  /**
   * Charges the intent's card off-session. Returns the error, or null; only a snapshot says what
   * happened to the payment.
   *
   * @param confirms the number of this confirmation; part of its idempotency key.
   */
  confirmIntent(
    owner: PaymentOwner,
    attempt: number,
    confirms: number,
    paymentIntent: string,
  ): Promise<unknown>
  /** Cancels the intent. `charged`: it was charged before, so it cannot be cancelled. */
  closeIntent(conferenceId: string, paymentIntent: string): Promise<'canceled' | 'charged'>
  refund(
    owner: PaymentOwner,
    params: RefundParams,
    options: { askedBefore: boolean },
  ): Promise<RefundResult>
  /** Fetches the objects themselves, refunds and disputes as complete lists; never an event's copy. */
  fetchSnapshot(query: SnapshotQuery): Promise<PaymentSnapshot>
}

/** The failure of an attempt that Stripe refused. After a stored error, another attempt may succeed. */
export const refusedFailure = ({ message, storedError }: RefusedResult): Failure => ({
  code: storedError ? 'stripe_failed' : 'stripe_refused',
  message,
})

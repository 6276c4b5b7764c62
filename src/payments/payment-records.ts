import type { AttemptState } from './attempt-machine.ts'
import type { DisputeSnapshot, PaymentIntentSnapshot, RefundSnapshot } from './payment-snapshot.ts'

/** What is paid: a purchase or a charge of one tenant. Metadata at Stripe names it. */
export type PaymentOwner = { conferenceId: string; kind: 'purchase' | 'charge'; id: string }

export type Failure = { code: string; message: string }

/**
 * Every parameter of a Checkout session. They are stored with the attempt, so that a retry sends the
 * same request. Amounts are in our minor units.
 */
export type CheckoutParams = {
  successUrl: string
  cancelUrl: string
  /** What the payer sees next to the quantity. Absent in older attempts and in charges: the description. */
  name?: string
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
  statementDescriptorSuffix?: string | null
  /** The caller's own entries. */
  metadata?: Record<string, string>
}

/** Every parameter of a payment by a saved card, stored with the attempt in the same way. */
export type CardParams = {
  description: string
  amount: number
  currency: string
  sponsorId: string | null
  /** The payment method that the caller named. Null: the default. */
  named: string | null
  statementDescriptorSuffix?: string | null
  metadata?: Record<string, string>
}

/** `checkout`: a Checkout session. `saved_card`: a payment intent that we confirm off-session. */
type AttemptKind =
  | { kind: 'checkout'; params: CheckoutParams }
  | { kind: 'saved_card'; params: CardParams }

/** One way to pay that was opened. Every parameter of its requests to Stripe is stored in it. */
export type PaymentAttempt = AttemptKind & {
  attempt: number
  state: AttemptState
  sessionId: string | null
  url: string | null
  expiresAt: Date | null
  paymentIntentId: string | null
  /** The saved card, once it was chosen. */
  paymentMethod: string | null
  /** How many confirm requests were sent to Stripe; part of their idempotency keys. */
  confirms: number
  /** The last recorded decline, so that each is recorded once. */
  decline: string | null
  failure: Failure | null
  createdAt: Date
}

export type CheckoutAttempt = Extract<PaymentAttempt, { kind: 'checkout' }>
export type CardAttempt = Extract<PaymentAttempt, { kind: 'saved_card' }>

/** A stored payment intent, as the last applied snapshot showed it. */
export type StoredPayment = Omit<PaymentIntentSnapshot, 'decline'>

/** A refund that someone requested here. `requested`: its outcome at Stripe is unknown. */
export type RefundRequest = {
  id: string
  paymentIntent: string
  amount: number
  reason: string | null
  state: 'requested' | 'accepted' | 'refused'
  refundId: string | null
  refusal: string | null
  /** The vouchers that the caller named; empty: none. */
  voucherIds: number[]
}

export const RECORDED_METHODS = ['bank_transfer', 'cheque', 'cash', 'other'] as const

/** A payment that came outside Stripe, as staff recorded it. A purchase has at most one. */
export type RecordedPayment = {
  id: string
  /** Minor units. */
  amount: number
  currency: string
  method: (typeof RECORDED_METHODS)[number]
  /** What the bank statement or the cheque says. */
  reference: string
  paidAt: Date
  note: string | null
  /** What was paid back of it, also outside Stripe. */
  refunds: RecordedRefund[]
}

/** A payment that staff want to record. */
export type OutsidePayment = Pick<RecordedPayment, 'amount' | 'method' | 'reference' | 'note'> & {
  /** When the money came. Null: now. */
  paidAt: Date | null
}

export type RecordedRefund = Pick<RefundRequest, 'id' | 'amount' | 'reason' | 'voucherIds'>

/** Everything that is stored about the payments of one purchase or charge. */
export type PaymentRecords = {
  /** Oldest first. */
  attempts: PaymentAttempt[]
  /** In the order of their attempts. */
  payments: StoredPayment[]
  refunds: RefundSnapshot[]
  disputes: DisputeSnapshot[]
  requests: RefundRequest[]
  /** No snapshot changes it: Stripe knows nothing of it. */
  recorded: RecordedPayment | null
}

export const NO_RECORDS: PaymentRecords = {
  attempts: [],
  payments: [],
  refunds: [],
  disputes: [],
  requests: [],
  recorded: null,
}

/** What to write over the stored records. Each list holds only what differs from them. */
export type RecordChanges = {
  /** `from`: the state in which the change was planned; the write names it. */
  attempts: { from: AttemptState; to: PaymentAttempt }[]
  payments: StoredPayment[]
  refunds: RefundSnapshot[]
  disputes: DisputeSnapshot[]
}

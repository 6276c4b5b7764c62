/** What one fetch from Stripe returned about a purchase or a charge. Amounts are in our minor units. */
export type PaymentSnapshot = {
  sessions: SessionSnapshot[]
  payments: PaymentIntentSnapshot[]
  refunds: RefundSnapshot[]
  disputes: DisputeSnapshot[]
  warnings: FraudWarning[]
}

export type SessionSnapshot = {
  attempt: number
  sessionId: string
  status: 'open' | 'complete' | 'expired'
  /** `no_payment_required` counts as paid: https://docs.stripe.com/checkout/fulfillment */
  paid: boolean
  paymentIntent: string | null
  url: string | null
  expiresAt: Date
}

export type PaymentIntentSnapshot = {
  paymentIntent: string
  attempt: number | null
  status: string
  amount: number
  received: number
  /** ISO 4217, upper case. */
  currency: string
  /** When Stripe charged the payer, if that succeeded. A bank debit succeeds days later. */
  chargedAt: Date | null
  /** The last decline by the bank; `fact` identifies one decline. */
  decline: { fact: string; code: string; message: string } | null
}

/** @see https://docs.stripe.com/api/refunds/object#refund_object-status */
export type RefundSnapshot = {
  id: string
  paymentIntent: string
  status: 'pending' | 'requires_action' | 'succeeded' | 'failed' | 'canceled'
  amount: number
  currency: string
  reason: string | null
  failureReason: string | null
  /** When it was made at Stripe. Null: an earlier release stored it. */
  refundedAt: Date | null
}

export type DisputeSnapshot = {
  id: string
  paymentIntent: string
  status: string
  amount: number
  currency: string
  reason: string | null
}

/** One of Radar's early fraud warnings. */
export type FraudWarning = { id: string; paymentIntent: string; fraudType: string }

export type DisputeOutcome = 'open' | 'won' | 'lost'

/**
 * What a dispute's status means for the vouchers. `warning_closed` and `prevented` end like a won
 * dispute: we keep the money.
 *
 * @see https://docs.stripe.com/api/disputes/object#dispute_object-status
 */
export function disputeOutcome(status: string): DisputeOutcome {
  if (status === 'lost') return 'lost'
  return status === 'won' || status === 'warning_closed' || status === 'prevented' ? 'won' : 'open'
}

/** Whether a refund may still succeed. Meanwhile the vouchers that it would deactivate are frozen. */
export function isRefundPending(status: RefundSnapshot['status']): boolean {
  return status === 'pending' || status === 'requires_action'
}

export function isRefundFailed(status: RefundSnapshot['status']): boolean {
  return status === 'failed' || status === 'canceled'
}

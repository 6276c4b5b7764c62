/** What Stripe says now of a purchase's sessions and money. Amounts in our minor units. */
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
  /** The last try that the bank declined; `fact` tells one decline from the next. */
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
}

export type DisputeSnapshot = {
  id: string
  paymentIntent: string
  status: string
  amount: number
  currency: string
  reason: string | null
}

export type FraudWarning = { id: string; paymentIntent: string; fraudType: string }

export type DisputeOutcome = 'open' | 'won' | 'lost'

/**
 * What a dispute's status means for the codes. `warning_closed` and `prevented` end like a won one:
 * the money stays. @see https://docs.stripe.com/api/disputes/object#dispute_object-status
 */
export function disputeOutcome(status: string): DisputeOutcome {
  if (status === 'lost') return 'lost'
  return status === 'won' || status === 'warning_closed' || status === 'prevented' ? 'won' : 'open'
}

/** True while a refund may still leave our account: its codes are frozen meanwhile. */
export function isRefundPending(status: RefundSnapshot['status']): boolean {
  return status === 'pending' || status === 'requires_action'
}

export function isRefundFailed(status: RefundSnapshot['status']): boolean {
  return status === 'failed' || status === 'canceled'
}

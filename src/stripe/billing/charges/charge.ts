/**
 * `open`: nothing was tried, or the outcome of a try is not known. `processing`: a bank debit is
 * under way. `declined`: the last try is over, and nobody tries again but staff. `requires_action`:
 * the bank wants the payer, who pays by the charge's Checkout link.
 */
export const CHARGE_STATUSES = [
  'open',
  'processing',
  'requires_action',
  'declined',
  'succeeded',
  'refunded',
  'canceled',
] as const

export type ChargeStatus = (typeof CHARGE_STATUSES)[number]

export type ChargeRef = { conferenceId: string; chargeId: string }

/** Amounts in minor units of `currency`. */
export type Charge = {
  conferenceId: string
  id: string
  customerId: string
  sponsorId: string
  status: ChargeStatus
  amount: number
  currency: string
  description: string
  statementDescriptorSuffix: string | null
  comment: string | null
  /** What it is for in another system; no second charge can name the same. */
  sourceReference: string | null
  /** Left out by `charges:run`. */
  manual: boolean
  /** What to charge when a try names nothing; null: the customer's default. */
  paymentMethod: string | null
  /** Where the payer returns to from a Checkout link that is made without a request for it. */
  successUrl: string | null
  cancelUrl: string | null
  amountReceived: number
  amountRefunded: number
  amountRefunding: number
  /** The one that paid. */
  paymentIntentId: string | null
  failure: { code: string; message: string } | null
  appliedTicket: number
  createdBy: string
  createdAt: Date
  updatedAt: Date
  succeededAt: Date | null
}

import type Stripe from 'stripe'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import type { RefundMode, World } from '../core/world.ts'
import { charges } from '../objects/charge.ts'
import { checkoutSessions } from '../objects/checkout-session.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import {
  closeDispute,
  type DisputeOutcome,
  type DisputeRequest,
  disputeCharge,
  moveDispute,
  type OpenDisputeStatus,
} from '../payments/dispute-charge.ts'
import { warnOfFraud } from '../payments/early-fraud-warning.ts'
import { expireSession } from '../payments/expire-session.ts'
import {
  declineSession,
  type PayOptions,
  paySession,
  paySessionLater,
} from '../payments/pay-session.ts'
import type { DeclineCode } from '../payments/payment-failure.ts'
import {
  failRefund,
  type RefundRequest,
  refundCharge,
  settleRefund,
} from '../payments/refund-charge.ts'
import { failIntent, fundIntent, settleIntent } from '../payments/settle-session.ts'
import { ownerOf } from './find-object.ts'

/** How a payer may promise to pay; see `paySessionLater`. */
export type PayLaterOptions = NonNullable<Parameters<typeof paySessionLater>[2]>

/**
 * What payers, banks and the merchant's staff do outside the API. A payment is named by its charge,
 * its payment intent or its session, whichever is at hand. Every method throws NotPossible when the
 * state of things does not allow it.
 */
export type PaymentControl = {
  /** The card is accepted. `amount` and `currency` act a payment that does not match. */
  pay(session: string, options?: PayOptions): Stripe.Checkout.Session
  /** The card is declined; the session stays open. */
  decline(session: string, code?: DeclineCode): Stripe.Checkout.Session
  /** Bank debit, or with `method: 'customer_balance'` a bank transfer: complete but unpaid. */
  payLater(session: string, options?: PayLaterOptions): Stripe.Checkout.Session
  /** The session's time is over now. */
  expire(session: string): Stripe.Checkout.Session
  /** The debit or transfer came in. */
  settle(payment: string): Stripe.PaymentIntent
  /** The debit was sent back, or the transfer never came. */
  failAsync(payment: string): Stripe.PaymentIntent
  /** Part of a bank transfer came in. @param amount smallest unit. */
  fundPartially(payment: string, amount: number): Stripe.PaymentIntent
  /** A refund from Stripe's dashboard. @throws StripeError as the API would refuse it. */
  refund(payment: string, request?: RefundRequest): Stripe.Refund
  /** How the next refunds come out, from the API too; afterwards at once again. */
  setRefundMode(mode: RefundMode, times?: number): void
  /** A pending refund reached the payer. */
  settleRefund(refund: string): Stripe.Refund
  /** A refund failed, pending or long after it succeeded. */
  failRefund(refund: string, reason?: string): Stripe.Refund
  dispute(payment: string, request?: DisputeRequest): Stripe.Dispute
  /** The dispute moves on while it is open. */
  updateDispute(dispute: string, status: OpenDisputeStatus): Stripe.Dispute
  closeDispute(dispute: string, outcome: DisputeOutcome): Stripe.Dispute
  earlyFraudWarning(payment: string, fraudType?: string): Stripe.Radar.EarlyFraudWarning
}

export function paymentControl(world: World): PaymentControl {
  const scopeOf = (id: string) => ownerOf(world, id).scope
  return {
    pay: (session, options) => paySession(scopeOf(session), session, options),
    decline: (session, code) => declineSession(scopeOf(session), session, code),
    payLater: (session, options) => paySessionLater(scopeOf(session), session, options),
    expire: (session) => expireSession(scopeOf(session), session),
    settle: (payment) => settleIntent(scopeOf(payment), intentOf(scopeOf(payment), payment)),
    failAsync: (payment) => failIntent(scopeOf(payment), intentOf(scopeOf(payment), payment)),
    fundPartially: (payment, amount) =>
      fundIntent(scopeOf(payment), intentOf(scopeOf(payment), payment), amount),
    refund: (payment, request = {}) =>
      refundCharge(scopeOf(payment), chargeOf(scopeOf(payment), payment), request),
    setRefundMode(mode, times = Number.POSITIVE_INFINITY) {
      world.refundMode = { mode, times }
    },
    settleRefund: (refund) => settleRefund(scopeOf(refund), refund),
    failRefund: (refund, reason) => failRefund(scopeOf(refund), refund, reason),
    dispute: (payment, request) =>
      disputeCharge(scopeOf(payment), chargeOf(scopeOf(payment), payment), request),
    updateDispute: (dispute, status) => moveDispute(scopeOf(dispute), dispute, status),
    closeDispute: (dispute, outcome) => closeDispute(scopeOf(dispute), dispute, outcome),
    earlyFraudWarning: (payment, fraudType = 'made_with_stolen_card') =>
      warnOfFraud(scopeOf(payment), chargeOf(scopeOf(payment), payment), fraudType),
  }
}

function intentOf(scope: Scope, id: string): string {
  const { account } = scope
  const session = account.rows(checkoutSessions).get(id)
  const charge = account.rows(charges).get(id)
  const intent = idOf(session?.payment_intent) ?? idOf(charge?.payment_intent) ?? id
  if (account.rows(paymentIntents).get(intent) === undefined)
    throw new NotPossible(`${id} has no payment intent`)
  return intent
}

function chargeOf(scope: Scope, id: string): string {
  if (scope.account.rows(charges).get(id) !== undefined) return id
  const intent = requireRow(scope, paymentIntents, intentOf(scope, id))
  const charge = idOf(intent.latest_charge)
  if (charge === null) throw new NotPossible(`${id} has no charge`)
  return charge
}

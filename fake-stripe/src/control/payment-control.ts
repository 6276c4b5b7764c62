import type Stripe from 'stripe'
import { requireRow } from '../core/changes.ts'
import type { DeclineCode } from '../core/declines.ts'
import { InvalidState } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { RefundMode, Scope } from '../core/scope.ts'
import type { FakeState } from '../fake-state.ts'
import { charges } from '../kinds/charge.ts'
import {
  declineSession,
  failIntent,
  fundIntent,
  type PayOptions,
  paySession,
  paySessionLater,
  settleIntent,
} from '../kinds/checkout-payment.ts'
import { checkoutSessions, expireSession } from '../kinds/checkout-session.ts'
import {
  closeDispute,
  type DisputeOutcome,
  type DisputeRequest,
  disputeCharge,
  type OpenDisputeStatus,
  updateDisputeStatus,
} from '../kinds/dispute.ts'
import { createFraudWarning } from '../kinds/early-fraud-warning.ts'
import { paymentIntents } from '../kinds/payment-intent.ts'
import { failPayout, payOutBalance, settlePayout } from '../kinds/payout.ts'
import { failRefund, type RefundRequest, refundCharge, settleRefund } from '../kinds/refund.ts'
import { type CardRenewal, renewCard } from '../kinds/saved-payment-method.ts'
import { authenticateSetup } from '../kinds/setup-intent.ts'
import type { WireSubscription } from '../kinds/subscription.ts'
import { type SubscriptionStatus, setSubscriptionStatus } from '../kinds/subscription-billing.ts'
import { type AccountReference, findAccount, findOwner, manualScope } from './account-control.ts'

/** The options of a late payment; see `paySessionLater`. */
export type PayLaterOptions = NonNullable<Parameters<typeof paySessionLater>[2]>

/**
 * Actions of payers, banks and the merchant's staff outside the API. `payment` is the id of a
 * charge, a payment intent or a session. Every method throws InvalidState when the action is not
 * possible in the current state.
 */
export type PaymentControl = {
  /**
   * The card is accepted. `amount` and `currency` simulate a payment that does not match the
   * session.
   */
  pay(session: string, options?: PayOptions): Stripe.Checkout.Session
  /** The card is declined; the session stays open. */
  decline(session: string, code?: DeclineCode): Stripe.Checkout.Session
  /** Bank debit, or with `method: 'customer_balance'` a bank transfer: complete but unpaid. */
  payLater(session: string, options?: PayLaterOptions): Stripe.Checkout.Session
  /** Expires the session now. */
  expire(session: string): Stripe.Checkout.Session
  /** The debit or transfer succeeded. */
  settle(payment: string): Stripe.PaymentIntent
  /** The debit was returned, or the transfer did not arrive. */
  failAsync(payment: string): Stripe.PaymentIntent
  /** A part of a bank transfer arrived. @param amount smallest unit. */
  fundPartially(payment: string, amount: number): Stripe.PaymentIntent
  /**
   * Creates a refund, as in Stripe's dashboard. @throws StripeError when the API would refuse it.
   */
  refund(payment: string, request?: RefundRequest): Stripe.Refund
  /** How the next refunds end, also those of the API; later ones succeed immediately again. */
  setRefundMode(mode: RefundMode, times?: number): void
  /** A pending refund reached the payer. */
  settleRefund(refund: string): Stripe.Refund
  /** A refund failed, pending or long after it succeeded. */
  failRefund(refund: string, reason?: string): Stripe.Refund
  dispute(payment: string, request?: DisputeRequest): Stripe.Dispute
  /** Changes the status of an open dispute. */
  updateDispute(dispute: string, status: OpenDisputeStatus): Stripe.Dispute
  closeDispute(dispute: string, outcome: DisputeOutcome): Stripe.Dispute
  earlyFraudWarning(payment: string, fraudType?: string): Stripe.Radar.EarlyFraudWarning
}

export function paymentControl(state: FakeState): PaymentControl {
  const scopeOf = (id: string) => findOwner(state, id).scope
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
      state.refundMode = { mode, times }
    },
    settleRefund: (refund) => settleRefund(scopeOf(refund), refund),
    failRefund: (refund, reason) => failRefund(scopeOf(refund), refund, reason),
    dispute: (payment, request) =>
      disputeCharge(scopeOf(payment), chargeOf(scopeOf(payment), payment), request),
    updateDispute: (dispute, status) => updateDisputeStatus(scopeOf(dispute), dispute, status),
    closeDispute: (dispute, outcome) => closeDispute(scopeOf(dispute), dispute, outcome),
    earlyFraudWarning: (payment, fraudType = 'made_with_stolen_card') =>
      createFraudWarning(scopeOf(payment), chargeOf(scopeOf(payment), payment), fraudType),
  }
}

function intentOf(scope: Scope, id: string): string {
  const { account } = scope
  const session = account.rows(checkoutSessions).get(id)
  const charge = account.rows(charges).get(id)
  const intent = idOf(session?.payment_intent) ?? idOf(charge?.payment_intent) ?? id
  if (account.rows(paymentIntents).get(intent) === undefined)
    throw new InvalidState(`${id} has no payment intent`)
  return intent
}

function chargeOf(scope: Scope, id: string): string {
  if (scope.account.rows(charges).get(id) !== undefined) return id
  const intent = requireRow(scope, paymentIntents, intentOf(scope, id))
  const charge = idOf(intent.latest_charge)
  if (charge === null) throw new InvalidState(`${id} has no charge`)
  return charge
}

/** Actions of Stripe's payout schedule and of the merchant's bank. */
export type PayoutControl = {
  /**
   * Creates an automatic payout, in transit, of all money that no earlier payout contains.
   *
   * @param currency default: the account's default currency.
   * @throws InvalidState when there is nothing to pay out.
   */
  payOut(account: AccountReference, currency?: string): Stripe.Payout
  /** The payout arrived. @throws InvalidState when the payout has ended. */
  settlePayout(payout: string): Stripe.Payout
  /**
   * The bank returned the payout, also after it had arrived.
   *
   * @param code default `account_closed`.
   * @throws InvalidState when the payout failed already or was canceled.
   */
  failPayout(payout: string, code?: string): Stripe.Payout
}

export function payoutControl(state: FakeState): PayoutControl {
  return {
    payOut(reference, currency) {
      const account = findAccount(state, reference)
      return payOutBalance(
        manualScope(state, account),
        (currency ?? account.profile.defaultCurrency).toLowerCase(),
      )
    },
    settlePayout: (payout) => settlePayout(findOwner(state, payout).scope, payout),
    failPayout: (payout, code = 'account_closed') =>
      failPayout(findOwner(state, payout).scope, payout, code),
  }
}

/** Actions of card networks and banks on saved cards, and changes of subscriptions. */
export type BillingControl = {
  /**
   * The card network replaced a saved card: `payment_method.automatically_updated`.
   *
   * @throws InvalidState when the payment method is not a card.
   */
  renewCard(paymentMethod: string, renewal?: CardRenewal): Stripe.PaymentMethod
  /**
   * Moves a subscription to any status and sends the events of the change.
   *
   * @throws InvalidState when there is none.
   */
  setSubscriptionStatus(subscription: string, status: SubscriptionStatus): WireSubscription
  /**
   * The payer passed (default) or failed the bank's authentication of a setup intent.
   *
   * @throws InvalidState when the intent does not require authentication.
   */
  authenticate(setupIntent: string, outcome?: 'passed' | 'failed'): Stripe.SetupIntent
}

export function billingControl(state: FakeState): BillingControl {
  const scopeOf = (id: string) => findOwner(state, id).scope
  return {
    renewCard: (method, renewal = {}) => renewCard(scopeOf(method), method, renewal),
    setSubscriptionStatus: (subscription, status) =>
      setSubscriptionStatus(scopeOf(subscription), subscription, status),
    authenticate: (intent, outcome = 'passed') =>
      authenticateSetup(scopeOf(intent), intent, outcome === 'passed'),
  }
}

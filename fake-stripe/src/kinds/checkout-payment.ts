import type Stripe from 'stripe'
import { changeMetadata } from '../api/common-params.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import {
  BANK_FAILURE,
  cardDecline,
  type DeclineCode,
  type PaymentFailure,
} from '../core/declines.ts'
import { InvalidState } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { checkoutSessions, payerDetails, sessionSettings } from './checkout-session.ts'
import { customers, insertCustomer } from './customer.ts'
import {
  attemptPayment,
  awaitTransfer,
  cancelIntent,
  createPaymentIntent,
  failPayment,
  intentSessions,
  paymentIntents,
  receiveTransfer,
  settlePayment,
} from './payment-intent.ts'
import { createPaymentMethod, type PaymentMethodKind, paymentMethods } from './payment-method.ts'
import { setupIntents } from './setup-intent.ts'

export type PayOptions = {
  /** An amount that differs from the session's, to simulate a mismatch; smallest unit. */
  amount?: number | undefined
  /** A currency that differs from the session's; lower-case ISO 4217. */
  currency?: string | undefined
  email?: string | undefined
  name?: string | undefined
}

type Session = Stripe.Checkout.Session

/**
 * The payer's card is accepted: the session becomes complete and paid. @throws InvalidState unless
 * it is open.
 */
export function paySession(scope: Scope, id: string, options: PayOptions = {}): Session {
  const session = openSessionRow(scope, id)
  if (session.mode === 'setup') return completeSetup(scope, session, options)
  if (session.amount_total === 0) return completeSession(scope, id, 'no_payment_required', options)
  const intent = sessionIntent(scope, session, options)
  const method = createPayerMethod(scope, session, 'card', options)
  attemptPayment(scope, intent.id, method, { status: 'succeeded' })
  const completed = completeSession(scope, id, 'paid', options)
  if (intent.setup_future_usage !== null) saveMethod(scope, completed, method)
  return completed
}

/** The payer's card is declined; the session stays open for another attempt. */
export function declineSession(
  scope: Scope,
  id: string,
  code: DeclineCode = 'generic_decline',
): Session {
  const session = openSessionRow(scope, id)
  if (session.mode === 'setup') throw new InvalidState(`Session ${id} takes no payment`)
  const intent = sessionIntent(scope, session, {})
  const failure = cardDecline(code)
  attemptPayment(scope, intent.id, createPayerMethod(scope, session, 'card', {}), {
    status: 'failed',
    failure,
  })
  return requireRow(scope, checkoutSessions, id)
}

/**
 * The payer chooses a bank debit or, with `customer_balance`, a bank transfer: the session is
 * complete but unpaid until `settleIntent` or `failIntent`.
 */
export function paySessionLater(
  scope: Scope,
  id: string,
  options: PayOptions & { method?: Exclude<PaymentMethodKind, 'card'> | undefined } = {},
): Session {
  const session = openSessionRow(scope, id)
  if (session.mode === 'setup' || session.amount_total === 0)
    throw new InvalidState(`Session ${id} takes no payment`)
  const intent = sessionIntent(scope, session, options)
  const kind = options.method ?? (session.currency === 'eur' ? 'sepa_debit' : 'us_bank_account')
  const method = createPayerMethod(scope, session, kind, options)
  if (kind === 'customer_balance') awaitTransfer(scope, intent.id, method)
  else attemptPayment(scope, intent.id, method, { status: 'processing' })
  return completeSession(scope, id, 'unpaid', options)
}

function openSessionRow(scope: Scope, id: string): Session {
  const session = requireRow(scope, checkoutSessions, id)
  if (session.status !== 'open') throw new InvalidState(`Session ${id} is ${session.status}`)
  return session
}

/** The session's intent; the first attempt creates it. A mismatch changes intent and session. */
function sessionIntent(scope: Scope, session: Session, options: PayOptions) {
  const amount = options.amount ?? session.amount_total ?? 0
  const currency = options.currency ?? session.currency ?? ''
  const known = idOf(session.payment_intent)
  const intent =
    known === null
      ? newIntent(scope, session, amount, currency)
      : changeRow(scope, paymentIntents, known, { amount, currency })
  changeRow(scope, checkoutSessions, session.id, {
    payment_intent: intent.id,
    amount_subtotal: amount,
    amount_total: amount,
    currency,
  })
  return intent
}

function newIntent(scope: Scope, session: Session, amount: number, currency: string) {
  const plan = requireRow(scope, sessionSettings, session.id).paymentIntent
  const intent = createPaymentIntent(scope, {
    ...plan,
    amount,
    currency,
    customer: idOf(session.customer),
    metadata: changeMetadata({}, plan.metadata),
    payment_method_types: session.payment_method_types,
  })
  scope.account.rows(intentSessions).insert({ id: intent.id, session: session.id })
  emitEvent(scope, 'payment_intent.created', intent)
  return intent
}

function createPayerMethod(
  scope: Scope,
  session: Session,
  kind: PaymentMethodKind,
  { email, name }: PayOptions,
): Stripe.PaymentMethod {
  const payer = { email: email ?? payerEmail(scope, session), name }
  return createPaymentMethod(scope, kind, payer)
}

function payerEmail({ account }: Scope, session: Session): string | null {
  const customer = account.rows(customers).get(idOf(session.customer) ?? '')
  return session.customer_email ?? customer?.email ?? null
}

function completeSession(
  scope: Scope,
  id: string,
  paymentStatus: Stripe.Checkout.Session.PaymentStatus,
  options: PayOptions,
): Session {
  scope.account.rows(sessionSettings).get(id)?.cancelExpiry()
  const session = requireRow(scope, checkoutSessions, id)
  const email = options.email ?? payerEmail(scope, session) ?? 'payer@example.com'
  const details = payerDetails({ email, name: options.name ?? null })
  const customer = idOf(session.customer) ?? newCustomer(scope, session, details)
  const completed = changeRow(scope, checkoutSessions, id, {
    status: 'complete',
    payment_status: paymentStatus,
    url: null,
    customer,
    customer_details: details,
  })
  emitEvent(scope, 'checkout.session.completed', completed)
  return completed
}

function newCustomer(
  scope: Scope,
  session: Session,
  details: Stripe.Checkout.Session.CustomerDetails,
) {
  if (session.customer_creation !== 'always') return null
  const customer = insertCustomer(scope, { email: details.email, name: details.name })
  emitEvent(scope, 'customer.created', customer)
  const intent = idOf(session.payment_intent)
  if (intent !== null) changeRow(scope, paymentIntents, intent, { customer: customer.id })
  return customer.id
}

function completeSetup(scope: Scope, session: Session, options: PayOptions): Session {
  const method = createPayerMethod(scope, session, 'card', options)
  saveMethod(scope, session, method)
  const intent = changeRow(scope, setupIntents, idOf(session.setup_intent) ?? '', {
    status: 'succeeded',
    payment_method: method.id,
  })
  emitEvent(scope, 'setup_intent.succeeded', intent)
  return completeSession(scope, session.id, 'no_payment_required', options)
}

/** Saves the payer's card with the session's customer, if there is one. */
function saveMethod(scope: Scope, session: Session, { id }: Stripe.PaymentMethod): void {
  const customer = idOf(session.customer)
  if (customer === null) return
  const attached = changeRow(scope, paymentMethods, id, { customer })
  emitEvent(scope, 'payment_method.attached', attached)
}

// The next three functions take an intent and update its Checkout session, if there is one. So a
// debit that the API started and one that the hosted page started end in the same way.

/** The bank debit or transfer succeeded. @throws InvalidState when the intent waits for none. */
export function settleIntent(scope: Scope, intentId: string): Stripe.PaymentIntent {
  const { status, amount } = requireRow(scope, paymentIntents, intentId)
  if (status === 'requires_action') return fundIntent(scope, intentId, amount)
  const intent = settlePayment(scope, intentId)
  updateSessionPayment(scope, intentId, 'paid')
  return intent
}

/**
 * A part of a bank transfer arrived; the full amount completes the payment. @param received
 * smallest unit.
 */
export function fundIntent(scope: Scope, intentId: string, received: number): Stripe.PaymentIntent {
  const intent = receiveTransfer(scope, intentId, received)
  if (intent.status === 'succeeded') updateSessionPayment(scope, intentId, 'paid')
  return intent
}

/**
 * The bank debit failed, or the transfer did not arrive. @throws InvalidState when the intent waits
 * for none.
 */
export function failIntent(
  scope: Scope,
  intentId: string,
  failure: PaymentFailure = BANK_FAILURE,
): Stripe.PaymentIntent {
  const { status } = requireRow(scope, paymentIntents, intentId)
  if (status !== 'processing' && status !== 'requires_action')
    throw new InvalidState(`${intentId} is ${status}, it has no pending payment`)
  const intent =
    status === 'processing'
      ? failPayment(scope, intentId, failure)
      : cancelIntent(scope, intentId, 'automatic')
  updateSessionPayment(scope, intentId, 'unpaid')
  return intent
}

function updateSessionPayment(scope: Scope, intentId: string, status: 'paid' | 'unpaid'): void {
  const link = scope.account.rows(intentSessions).get(intentId)
  if (link === undefined) return
  const session = changeRow(scope, checkoutSessions, link.session, { payment_status: status })
  const outcome = status === 'paid' ? 'succeeded' : 'failed'
  emitEvent(scope, `checkout.session.async_payment_${outcome}`, session)
}

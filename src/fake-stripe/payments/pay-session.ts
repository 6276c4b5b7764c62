import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { checkoutSessions, payerDetails, sessionPlans } from '../objects/checkout-session.ts'
import { customers, insertCustomer } from '../objects/customer.ts'
import { createPaymentIntent, intentSessions, paymentIntents } from '../objects/payment-intent.ts'
import {
  createPaymentMethod,
  type PaymentMethodKind,
  paymentMethods,
} from '../objects/payment-method.ts'
import { setupIntents } from '../objects/setup-intent.ts'
import { attemptPayment } from './attempt-payment.ts'
import { awaitTransfer } from './bank-transfer.ts'
import { cardDecline, type DeclineCode } from './payment-failure.ts'

export type PayOptions = {
  /** Another amount than the session asks for, to act a mismatch; smallest unit. */
  amount?: number | undefined
  /** Another currency than the session's; lower-case ISO 4217. */
  currency?: string | undefined
  email?: string | undefined
  name?: string | undefined
}

type Session = Stripe.Checkout.Session

/** The payer's card is accepted: session complete and paid. @throws NotPossible unless open. */
export function paySession(scope: Scope, id: string, options: PayOptions = {}): Session {
  const session = openSessionRow(scope, id)
  if (session.mode === 'setup') return completeSetup(scope, session, options)
  if (session.amount_total === 0) return complete(scope, id, 'no_payment_required', options)
  const intent = sessionIntent(scope, session, options)
  const method = methodOf(scope, session, 'card', options)
  attemptPayment(scope, intent.id, method, { status: 'succeeded' })
  const completed = complete(scope, id, 'paid', options)
  if (intent.setup_future_usage !== null) saveMethod(scope, completed, method)
  return completed
}

/** The payer's card is declined; the session stays open for another try. */
export function declineSession(
  scope: Scope,
  id: string,
  code: DeclineCode = 'generic_decline',
): Session {
  const session = openSessionRow(scope, id)
  if (session.mode === 'setup') throw new NotPossible(`Session ${id} takes no payment`)
  const intent = sessionIntent(scope, session, {})
  const failure = cardDecline(code)
  attemptPayment(scope, intent.id, methodOf(scope, session, 'card', {}), {
    status: 'failed',
    failure,
  })
  return requireRow(scope, checkoutSessions, id)
}

/**
 * The payer chooses a bank debit (or, with `customer_balance`, promises a transfer): session
 * complete, but unpaid until `settleSession` or `failSession`.
 */
export function paySessionLater(
  scope: Scope,
  id: string,
  options: PayOptions & { method?: Exclude<PaymentMethodKind, 'card'> | undefined } = {},
): Session {
  const session = openSessionRow(scope, id)
  if (session.mode === 'setup' || session.amount_total === 0)
    throw new NotPossible(`Session ${id} takes no payment`)
  const intent = sessionIntent(scope, session, options)
  const kind = options.method ?? (session.currency === 'eur' ? 'sepa_debit' : 'us_bank_account')
  const method = methodOf(scope, session, kind, options)
  if (kind === 'customer_balance') awaitTransfer(scope, intent.id, method)
  else attemptPayment(scope, intent.id, method, { status: 'processing' })
  return complete(scope, id, 'unpaid', options)
}

function openSessionRow(scope: Scope, id: string): Session {
  const session = requireRow(scope, checkoutSessions, id)
  if (session.status !== 'open') throw new NotPossible(`Session ${id} is ${session.status}`)
  return session
}

/** The session's intent, made by the first attempt; a mismatch changes intent and session alike. */
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
  const plan = requireRow(scope, sessionPlans, session.id).paymentIntent
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

function methodOf(
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

function complete(
  scope: Scope,
  id: string,
  paymentStatus: Stripe.Checkout.Session.PaymentStatus,
  options: PayOptions,
): Session {
  scope.account.rows(sessionPlans).get(id)?.cancelExpiry()
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
  const method = methodOf(scope, session, 'card', options)
  saveMethod(scope, session, method)
  const intent = changeRow(scope, setupIntents, idOf(session.setup_intent) ?? '', {
    status: 'succeeded',
    payment_method: method.id,
  })
  emitEvent(scope, 'setup_intent.succeeded', intent)
  return complete(scope, session.id, 'no_payment_required', options)
}

/** Keeps the payer's card with the session's customer, if it has one. */
function saveMethod(scope: Scope, session: Session, { id }: Stripe.PaymentMethod): void {
  const customer = idOf(session.customer)
  if (customer === null) return
  const attached = changeRow(scope, paymentMethods, id, { customer })
  emitEvent(scope, 'payment_method.attached', attached)
}

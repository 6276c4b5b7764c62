import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from '../objects/customer.ts'
import { invoiceFollowers, invoices, type WireInvoice } from '../objects/invoice.ts'
import { defaultPayment, invoicePayments } from '../objects/invoice-payment.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import { paymentMethods, testBehaviours } from '../objects/payment-method.ts'
import { subscriptions } from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import { attemptPayment } from '../payments/attempt-payment.ts'
import { cardDecline, type DeclineCode } from '../payments/payment-failure.ts'

/** What a try to collect came to; `no_method`: there was nothing to charge. */
export type Collection = 'paid' | 'failed' | 'processing' | 'requires_action' | 'no_method'

export type CollectOptions = {
  method?: Stripe.PaymentMethod | undefined
  decline?: DeclineCode | null
}

/** Tries to charge an open invoice; what follows from it has happened on return. */
export function collectInvoice(
  scope: Scope,
  id: string,
  { method: wanted, decline = null }: CollectOptions = {},
): Collection {
  const before = requireRow(scope, invoices, id)
  changeRow(scope, invoices, id, { attempted: true, attempt_count: before.attempt_count + 1 })
  const method = wanted ?? methodFor(scope, before)
  if (method === undefined) {
    paymentFailed(scope, id)
    return 'no_method'
  }
  const intent = idOf(defaultPayment(scope, id)?.payment.payment_intent) ?? ''
  if (method.type !== 'card') {
    attemptPayment(scope, intent, method, { status: 'processing' })
    return 'processing'
  }
  const behaviour = scope.account.rows(testBehaviours).get(method.id)
  const code = decline ?? behaviour?.decline ?? null
  if (code !== null) {
    attemptPayment(scope, intent, method, { status: 'failed', failure: cardDecline(code) })
    return 'failed'
  }
  if (behaviour?.needsAuthentication === true) {
    askPayer(scope, id, intent, method)
    return 'requires_action'
  }
  attemptPayment(scope, intent, method, { status: 'succeeded' })
  return 'paid'
}

/** The payment intent of an invoice has succeeded or failed, by whomever it was tried. */
export function followIntent(scope: Scope, id: string, intent: Stripe.PaymentIntent): void {
  if (scope.account.rows(invoices).get(id)?.status !== 'open') return
  if (intent.status === 'succeeded') invoicePaid(scope, id)
  else paymentFailed(scope, id)
}

/** Nothing is owed any more: paid by a charge, outside Stripe, or there was nothing to pay. */
export function invoicePaid(scope: Scope, id: string): WireInvoice {
  const before = requireRow(scope, invoices, id)
  const now = nowBy(scope, idOf(before.test_clock))
  const after = changeRow(scope, invoices, id, {
    status: 'paid',
    amount_paid: before.amount_due,
    amount_remaining: 0,
    attempted: true,
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...before.status_transitions, paid_at: now },
  })
  settlePayment(scope, id, now)
  emitEvent(scope, 'invoice.updated', after, before)
  emitEvent(scope, 'invoice.paid', after)
  emitEvent(scope, 'invoice.payment_succeeded', after)
  scope.account.rows(invoiceFollowers).get(id)?.paid(scope)
  return after
}

/** The method that is charged unless another is named. */
function methodFor(scope: Scope, invoice: WireInvoice): Stripe.PaymentMethod | undefined {
  const { account } = scope
  const plan = idOf(invoice.parent?.subscription_details?.subscription)
  const subscription = account.rows(subscriptions).get(plan ?? '')
  return firstMethod(scope, [
    invoice.default_payment_method,
    invoice.default_source,
    subscription?.default_payment_method,
    subscription?.default_source,
    ...customerDefaults(scope, idOf(invoice.customer)),
  ])
}

/** What a customer is charged by when a subscription names nothing itself. */
export function customerDefaults({ account }: Scope, id: string | null) {
  const customer = account.rows(customers).get(id ?? '')
  return [customer?.invoice_settings.default_payment_method, customer?.default_source]
}

/** A legacy card counts by the payment method that it is too. */
export function firstMethod(
  { account }: Scope,
  references: readonly (string | { id: string } | null | undefined)[],
): Stripe.PaymentMethod | undefined {
  const chosen = references.find((reference) => reference !== null && reference !== undefined)
  return account.rows(paymentMethods).get(idOf(chosen) ?? '')
}

function settlePayment(scope: Scope, invoice: string, now: number): void {
  const payment = defaultPayment(scope, invoice)
  const intent = scope.account.rows(paymentIntents).get(idOf(payment?.payment.payment_intent) ?? '')
  if (payment === undefined || intent?.status !== 'succeeded') return
  const paid = changeRow(scope, invoicePayments, payment.id, {
    amount_paid: intent.amount_received,
    status: 'paid',
    status_transitions: { canceled_at: null, paid_at: now },
  })
  emitEvent(scope, 'invoice_payment.paid', paid)
}

function paymentFailed(scope: Scope, id: string): void {
  emitEvent(scope, 'invoice.payment_failed', requireRow(scope, invoices, id))
  scope.account.rows(invoiceFollowers).get(id)?.failed(scope)
}

function askPayer(scope: Scope, id: string, intentId: string, method: Stripe.PaymentMethod): void {
  const intent = changeRow(scope, paymentIntents, intentId, {
    status: 'requires_action',
    payment_method: method.id,
    next_action: { type: 'use_stripe_sdk', use_stripe_sdk: {} },
  })
  emitEvent(scope, 'payment_intent.requires_action', intent)
  emitEvent(scope, 'invoice.payment_action_required', requireRow(scope, invoices, id))
  scope.account.rows(invoiceFollowers).get(id)?.failed(scope)
}

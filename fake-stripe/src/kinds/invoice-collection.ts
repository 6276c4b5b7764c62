import type Stripe from 'stripe'
import {
  createdWithin,
  type FiltersOf,
  listOperation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { choice, group, text, timeRange, unsupported } from '../api/params.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { cardDecline, type DeclineCode } from '../core/declines.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from './customer.ts'
import {
  defaultPayment,
  insertInvoicePayment,
  invoiceItems,
  invoiceLines,
  invoiceListeners,
  invoicePayments,
  invoices,
  type WireInvoice,
} from './invoice.ts'
import {
  attemptPayment,
  CANCELABLE,
  cancelIntent,
  createPaymentIntent,
  intentListeners,
  paymentIntents,
} from './payment-intent.ts'
import { paymentMethods, testBehaviours } from './payment-method.ts'
import { subscriptions } from './subscription.ts'
import { nowBy } from './test-clock.ts'

const DESCRIPTIONS: Record<string, string> = {
  subscription_create: 'Subscription creation',
  subscription_cycle: 'Subscription update',
  subscription_update: 'Subscription update',
}

/**
 * Finalizes a draft: it gets its number and its payment intent. An invoice over zero is paid.
 *
 * @see https://docs.stripe.com/api/invoices/finalize
 */
export function finalizeInvoice(scope: Scope, id: string): WireInvoice {
  const before = requireRow(scope, invoices, id)
  const now = nowBy(scope, idOf(before.test_clock))
  const open = changeRow(scope, invoices, id, {
    status: 'open',
    number: before.number ?? nextNumber(scope, idOf(before.customer)),
    effective_at: before.effective_at ?? now,
    ending_balance: 0,
    automatically_finalizes_at: null,
    status_transitions: { ...before.status_transitions, finalized_at: now },
  })
  emitEvent(scope, 'invoice.finalized', open, before)
  if (open.amount_due === 0) return markInvoicePaid(scope, id)
  createInvoicePayment(scope, open, now)
  return open
}

function nextNumber(scope: Scope, customerId: string | null): string {
  const customer = requireRow(scope, customers, customerId)
  const sequence = customer.next_invoice_sequence ?? 1
  changeRow(scope, customers, customer.id, { next_invoice_sequence: sequence + 1 })
  return `${customer.invoice_prefix}-${String(sequence).padStart(4, '0')}`
}

function createInvoicePayment(scope: Scope, invoice: WireInvoice, now: number): void {
  const { id, amount_due: amount, currency, billing_reason: reason } = invoice
  const intent = createPaymentIntent(scope, {
    amount,
    currency,
    customer: idOf(invoice.customer),
    description: DESCRIPTIONS[reason ?? ''] ?? `Payment for Invoice ${invoice.number}`,
    statement_descriptor: invoice.statement_descriptor,
  })
  insertInvoicePayment(scope, invoice, intent.id, now)
  scope.account.rows(intentListeners).insert({
    id: intent.id,
    settled: (cause, settled) => applyIntentResult(cause, id, settled),
  })
  emitEvent(scope, 'payment_intent.created', intent)
}

/**
 * The result of an attempt to charge an invoice; `no_method`: the customer has no payment method.
 */
export type Collection = 'paid' | 'failed' | 'processing' | 'requires_action' | 'no_method'

export type CollectOptions = {
  method?: Stripe.PaymentMethod | undefined
  decline?: DeclineCode | null
}

/** Tries to charge an open invoice; all effects have happened on return. */
export function collectInvoice(
  scope: Scope,
  id: string,
  { method: wanted, decline = null }: CollectOptions = {},
): Collection {
  const before = requireRow(scope, invoices, id)
  changeRow(scope, invoices, id, { attempted: true, attempt_count: before.attempt_count + 1 })
  const method = wanted ?? methodFor(scope, before)
  if (method === undefined) {
    emitPaymentFailed(scope, id)
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
    requireAuthentication(scope, id, intent, method)
    return 'requires_action'
  }
  attemptPayment(scope, intent, method, { status: 'succeeded' })
  return 'paid'
}

/** Updates an invoice after its payment intent has succeeded or failed. */
function applyIntentResult(scope: Scope, id: string, intent: Stripe.PaymentIntent): void {
  if (scope.account.rows(invoices).get(id)?.status !== 'open') return
  if (intent.status === 'succeeded') markInvoicePaid(scope, id)
  else emitPaymentFailed(scope, id)
}

/** Marks an invoice as paid: by a charge, outside Stripe, or because its total is zero. */
export function markInvoicePaid(scope: Scope, id: string): WireInvoice {
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
  markInvoicePaymentPaid(scope, id, now)
  emitEvent(scope, 'invoice.updated', after, before)
  emitEvent(scope, 'invoice.paid', after)
  emitEvent(scope, 'invoice.payment_succeeded', after)
  scope.account.rows(invoiceListeners).get(id)?.paid(scope)
  return after
}

/** The payment method to charge by default. */
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

/** The customer's default payment methods, for subscriptions that name none. */
export function customerDefaults({ account }: Scope, id: string | null) {
  const customer = account.rows(customers).get(id ?? '')
  return [customer?.invoice_settings.default_payment_method, customer?.default_source]
}

/** The first payment method of the list; a legacy card is also a payment method. */
export function firstMethod(
  { account }: Scope,
  references: readonly (string | { id: string } | null | undefined)[],
): Stripe.PaymentMethod | undefined {
  const chosen = references.find((reference) => reference !== null && reference !== undefined)
  return account.rows(paymentMethods).get(idOf(chosen) ?? '')
}

function markInvoicePaymentPaid(scope: Scope, invoice: string, now: number): void {
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

function emitPaymentFailed(scope: Scope, id: string): void {
  emitEvent(scope, 'invoice.payment_failed', requireRow(scope, invoices, id))
  scope.account.rows(invoiceListeners).get(id)?.failed(scope)
}

function requireAuthentication(
  scope: Scope,
  id: string,
  intentId: string,
  method: Stripe.PaymentMethod,
): void {
  const intent = changeRow(scope, paymentIntents, intentId, {
    status: 'requires_action',
    payment_method: method.id,
    next_action: { type: 'use_stripe_sdk', use_stripe_sdk: {} },
  })
  emitEvent(scope, 'payment_intent.requires_action', intent)
  emitEvent(scope, 'invoice.payment_action_required', requireRow(scope, invoices, id))
  scope.account.rows(invoiceListeners).get(id)?.failed(scope)
}

/** Voids an invoice and cancels its intent. The caller has checked its status. */
export function voidInvoice(scope: Scope, id: string): WireInvoice {
  const voided = closeInvoice(scope, id, 'void', 'voided_at')
  const payment = defaultPayment(scope, id)
  const intent = scope.account.rows(paymentIntents).get(idOf(payment?.payment.payment_intent) ?? '')
  if (payment !== undefined && intent !== undefined && CANCELABLE.includes(intent.status)) {
    cancelIntent(scope, intent.id, 'void_invoice')
    const now = nowBy(scope, idOf(voided.test_clock))
    changeRow(scope, invoicePayments, payment.id, {
      status: 'canceled',
      status_transitions: { canceled_at: now, paid_at: null },
    })
  }
  return voided
}

/** Marks an invoice as uncollectible; it can still be paid. */
export function markUncollectible(scope: Scope, id: string): WireInvoice {
  return closeInvoice(scope, id, 'uncollectible', 'marked_uncollectible_at')
}

/** Deletes a draft; its invoice items wait for another invoice. */
export function deleteInvoice(scope: Scope, id: string): Stripe.DeletedInvoice {
  const { account } = scope
  const invoice = requireRow(scope, invoices, id)
  for (const item of account.rows(invoiceItems).all((row) => row.invoice === id))
    changeRow(scope, invoiceItems, item.id, { invoice: null })
  account.rows(invoices).remove(id)
  account.rows(invoiceLines).remove(id)
  emitEvent(scope, 'invoice.deleted', invoice)
  return { id, object: 'invoice', deleted: true }
}

const EVENTS = { void: 'invoice.voided', uncollectible: 'invoice.marked_uncollectible' } as const

function closeInvoice(
  scope: Scope,
  id: string,
  status: 'void' | 'uncollectible',
  moment: 'voided_at' | 'marked_uncollectible_at',
): WireInvoice {
  const before = requireRow(scope, invoices, id)
  const now = nowBy(scope, idOf(before.test_clock))
  const after = changeRow(scope, invoices, id, {
    status,
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...before.status_transitions, [moment]: now },
  })
  emitEvent(scope, 'invoice.updated', after, before)
  emitEvent(scope, EVENTS[status], after, before)
  return after
}

/** @see https://docs.stripe.com/api/invoice-payment */
export const invoicePaymentResource: Resource = {
  kind: invoicePayments.name,
  expandable: {
    invoice: { kind: 'invoice' },
    payment: { kind: 'invoice_payment.payment', inline: true },
  },
  operations: [
    retrieveOperation('/v1/invoice_payments/:id', invoicePayments),
    listOperation({
      path: '/v1/invoice_payments',
      table: invoicePayments,
      filters: {
        created: timeRange().optional(),
        invoice: text().optional(),
        payment: group({
          payment_intent: text().optional(),
          payment_record: unsupported('payment records'),
          type: choice('type', ['payment_intent', 'payment_record']),
        }).optional(),
        status: choice('status', ['canceled', 'open', 'paid']).optional(),
      } satisfies FiltersOf<Stripe.InvoicePaymentListParams>,
      where({ created, invoice, payment, status }) {
        const within = createdWithin(created)
        return (row) => {
          const intent = idOf(row.payment.payment_intent)
          return (
            within(row) &&
            (invoice ?? row.invoice) === row.invoice &&
            (payment?.payment_intent ?? intent) === intent &&
            (status ?? row.status) === row.status
          )
        }
      },
    }),
  ],
}

/** A part of an invoice payment; it has no endpoint. */
export const paymentOfInvoiceResource: Resource = {
  kind: 'invoice_payment.payment',
  expandable: { payment_intent: { kind: 'payment_intent' } },
  operations: [],
}

import type Stripe from 'stripe'
import { changeMetadata } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  itemListOperation,
  listOperation,
  loadRelated,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { choice, flag, group, text, timeRange, unsupported } from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { invalidParameter, refused, StripeError } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { customers } from './customer.ts'
import { applyDiscounts } from './discount.ts'
import {
  addItems,
  defaultPayment,
  draftInvoice,
  invoiceLines,
  invoices,
  pendingItems,
  setLines,
  type WireInvoice,
} from './invoice.ts'
import {
  collectInvoice,
  deleteInvoice,
  finalizeInvoice,
  markInvoicePaid,
  markUncollectible,
  voidInvoice,
} from './invoice-collection.ts'
import {
  type InvoiceCreateInput,
  type InvoicePayInput,
  type InvoiceUpdateInput,
  invoiceCreateParams,
  invoicePayParams,
  invoiceUpdateParams,
} from './invoice-params.ts'
import { paymentIntents } from './payment-intent.ts'
import { resolvePaymentMethod } from './payment-method.ts'
import { nowBy } from './test-clock.ts'

const PATH = '/v1/invoices'
const kind = invoices.name

/** @see https://docs.stripe.com/api/invoices */
export const invoiceResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    default_payment_method: { kind: 'payment_method' },
    default_source: { kind: 'card' },
    discounts: { kind: 'discount' },
    lines: { kind: 'line_item', list: true, inline: true },
    parent: { kind: 'invoice.parent', inline: true },
    // An invoice contains them only when they are expanded.
    payments: {
      kind: 'invoice_payment',
      list: true,
      load: loadRelated('invoice_payment', 'invoice', paymentsUrl),
    },
    test_clock: { kind: 'test_helpers.test_clock' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: invoiceCreateParams,
      run: createInvoice,
    }),
    retrieveOperation(`${PATH}/:id`, invoices, 'invoice'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: invoiceUpdateParams,
      run: (call, params, { id = '' }) => updateInvoice(call, id, params),
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        const invoice = existing(call, invoices, id, 'invoice', 404)
        if (invoice.status !== 'draft' || invoice.parent !== null)
          throw refused(
            'You can only delete draft invoices that were not created by a subscription.',
          )
        return deleteInvoice(call, id)
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/finalize`,
      returns: kind,
      params: group({ auto_advance: flag().optional() }),
      run(call, { auto_advance }, { id = '' }) {
        requireDraft(existing(call, invoices, id, 'invoice', 404))
        changeRow(call, invoices, id, givenFields({ auto_advance }))
        return finalizeInvoice(call, id)
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/pay`,
      returns: kind,
      params: invoicePayParams,
      run: (call, params, { id = '' }) => payInvoice(call, id, params),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/send`,
      returns: kind,
      params: group({}),
      run: (call, _params, { id = '' }) => sendInvoice(call, id),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/void`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        requireStatus(call, id, ['open', 'uncollectible'], 'void')
        return voidInvoice(call, id)
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/mark_uncollectible`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        requireStatus(call, id, ['open'], 'mark uncollectible')
        return markUncollectible(call, id)
      },
    }),
    searchOperation({
      path: `${PATH}/search`,
      table: invoices,
      fields: {
        created: 'numeric',
        currency: 'token',
        customer: 'token',
        // The fake finalizes every invoice, so these two are always empty.
        last_finalization_error_code: {
          type: 'token',
          read: (invoice) => invoice.last_finalization_error?.code,
        },
        last_finalization_error_type: {
          type: 'token',
          read: (invoice) => invoice.last_finalization_error?.type,
        },
        number: 'string',
        receipt_number: 'string',
        status: 'string',
        subscription: { type: 'string', read: subscriptionOf },
        total: 'numeric',
      },
    }),
    listOperation({
      path: PATH,
      table: invoices,
      filters: {
        collection_method: choice('collection_method', [
          'charge_automatically',
          'send_invoice',
        ]).optional(),
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
        due_date: timeRange().optional(),
        status: choice('status', ['draft', 'open', 'paid', 'uncollectible', 'void']).optional(),
        subscription: text().optional(),
      } satisfies FiltersOf<Stripe.InvoiceListParams>,
      where({ collection_method: collection, created, customer, due_date: due, ...params }) {
        const { status, subscription } = params
        const within = createdWithin(created)
        const dueWithin = createdWithin(due)
        // Invoices of a test clock appear only in lists of their customer or subscription.
        const timed = customer !== undefined || subscription !== undefined
        return (row) =>
          (timed || row.test_clock === null) &&
          within(row) &&
          (due === undefined || (row.due_date !== null && dueWithin({ created: row.due_date }))) &&
          (collection ?? row.collection_method) === row.collection_method &&
          (customer ?? idOf(row.customer)) === idOf(row.customer) &&
          (status ?? row.status) === row.status &&
          (subscription ?? subscriptionOf(row)) === subscriptionOf(row)
      },
    }),
    itemListOperation({
      path: `${PATH}/:id/lines`,
      kind: 'line_item',
      parents: invoices,
      param: 'invoice',
      itemsOf: ({ account }, id) => account.rows(invoiceLines).get(id)?.items ?? [],
    }),
  ],
}

/** Parts of an invoice; they have no endpoints. */
export const invoiceLineResource: Resource = {
  kind: 'line_item',
  expandable: { discounts: { kind: 'discount' }, subscription: { kind: 'subscription' } },
  operations: [],
}
export const invoiceParentResource: Resource = {
  kind: 'invoice.parent',
  expandable: { subscription_details: { kind: 'invoice.parent.subscription', inline: true } },
  operations: [],
}
export const invoiceSubscriptionResource: Resource = {
  kind: 'invoice.parent.subscription',
  expandable: { subscription: { kind: 'subscription' } },
  operations: [],
}

function subscriptionOf({ parent }: WireInvoice): string | null {
  return idOf(parent?.subscription_details?.subscription)
}

function paymentsUrl(invoice: string): string {
  return `/v1/invoice_payments?invoice=${invoice}`
}

/** Marks an invoice as sent; no mail is sent. A draft is finalized first. */
function sendInvoice(call: Call, id: string): WireInvoice {
  const { status } = existing(call, invoices, id, 'invoice', 404)
  const invoice = status === 'draft' ? finalizeInvoice(call, id) : requireOpen(call, id)
  emitEvent(call, 'invoice.sent', invoice)
  return invoice
}

function requireOpen(call: Call, id: string): WireInvoice {
  return requireStatus(call, id, ['open', 'paid'], 'send')
}

function requireStatus(call: Call, id: string, allowed: readonly string[], action: string) {
  const invoice = existing(call, invoices, id, 'invoice', 404)
  if (allowed.includes(invoice.status ?? '')) return invoice
  throw refused(
    `You can only ${action} an invoice that is ${allowed.join(' or ')}. This invoice is ${invoice.status}.`,
    { code: 'status_transition_invalid' },
  )
}

const DAY = 24 * 60 * 60

/**
 * Creates a draft to which invoice items can be added.
 *
 * @see https://docs.stripe.com/api/invoices/create
 */
function createInvoice(call: Call, input: InvoiceCreateInput): WireInvoice {
  const customer = existing(call, customers, input.customer, 'customer')
  const now = nowBy(call, idOf(customer.test_clock))
  const byMail = input.collection_method === 'send_invoice'
  if (byMail && input.days_until_due === undefined && input.due_date === undefined)
    throw invalidParameter(
      'days_until_due',
      "If `collection_method` is set to 'send_invoice', you must specify `days_until_due` or `due_date`.",
      'parameter_missing',
    )
  const currency = input.currency ?? customer.currency ?? call.account.profile.defaultCurrency
  const { auto_advance, collection_method, default_payment_method, default_source } = input
  const { description, effective_at, footer, number, statement_descriptor } = input
  const { id } = draftInvoice(
    call,
    {
      customer,
      currency,
      now,
      ...givenFields({ auto_advance, collection_method, default_payment_method, default_source }),
      ...givenFields({ description, effective_at, footer, number, statement_descriptor }),
      discounts: applyDiscounts(call, input.discounts ?? [], { customer: customer.id }, now),
      due_date: dueDate(input, now),
      metadata: changeMetadata({}, input.metadata),
    },
    [],
  )
  if (input.pending_invoice_items_behavior === 'include')
    return addItems(call, id, pendingItems(call, customer.id, currency))
  return requireRow(call, invoices, id)
}

/**
 * Changes a draft; of a finalized invoice only metadata and payment settings can be changed.
 *
 * @throws StripeError `invoice_not_editable`.
 */
function updateInvoice(call: Call, id: string, input: InvoiceUpdateInput): WireInvoice {
  const before = existing(call, invoices, id, 'invoice', 404)
  const { metadata, auto_advance, default_payment_method, default_source, ...others } = input
  if (Object.values(others).some((value) => value !== undefined)) requireDraft(before)
  const { collection_method, description, effective_at, footer, number } = others
  const now = nowBy(call, idOf(before.test_clock))
  const due = dueDate(others, now)
  changeRow(call, invoices, id, {
    ...givenFields({ auto_advance, collection_method, default_payment_method, default_source }),
    ...givenFields({ description, effective_at, footer, number }),
    ...givenFields({ statement_descriptor: others.statement_descriptor }),
    ...(due === null ? {} : { due_date: due }),
    ...(others.discounts === undefined
      ? {}
      : { discounts: applyDiscounts(call, others.discounts ?? [], { invoice: id }, now) }),
    metadata: changeMetadata(before.metadata ?? {}, metadata),
  })
  const after =
    before.status === 'draft'
      ? setLines(call, id, requireRow(call, invoiceLines, id).items)
      : requireRow(call, invoices, id)
  emitEvent(call, 'invoice.updated', after, before)
  return after
}

/**
 * Pays an invoice now; a draft is finalized first.
 *
 * @throws StripeError 402 when the card is declined; the events are sent nevertheless.
 * @see https://docs.stripe.com/api/invoices/pay
 */
function payInvoice(call: Call, id: string, input: InvoicePayInput): WireInvoice {
  const before = existing(call, invoices, id, 'invoice', 404)
  if (before.status === 'paid') throw refused('Invoice is already paid')
  if (before.status === 'void') throw refused('Invoice is void and cannot be paid')
  if (before.status === 'uncollectible') changeRow(call, invoices, id, { status: 'open' })
  const open =
    before.status === 'draft' ? finalizeInvoice(call, id) : requireRow(call, invoices, id)
  if (open.status === 'paid') return open
  if (input.paid_out_of_band) return markInvoicePaid(call, id)
  const wanted = input.payment_method ?? input.source
  const method =
    wanted === undefined ? undefined : resolvePaymentMethod(call, wanted, 'payment_method')
  const result = collectInvoice(call, id, { method, decline: call.decline })
  if (result === 'failed' || result === 'requires_action') throw notPaid(call, id)
  if (result === 'no_method')
    throw refused(
      'There is no `default_payment_method` set on this Customer or Invoice. Please attach a payment method and set it as the default.',
      { code: 'resource_missing' },
    )
  return requireRow(call, invoices, id)
}

/** @throws StripeError `invoice_not_editable` unless the invoice is a draft. */
export function requireDraft({ status }: WireInvoice): void {
  if (status === 'draft') return
  throw refused("This invoice is no longer editable because it's finalized.", {
    code: 'invoice_not_editable',
  })
}

function dueDate(
  input: { days_until_due?: number | undefined; due_date?: number | undefined },
  now: number,
): number | null {
  if (input.due_date !== undefined) return input.due_date
  return input.days_until_due === undefined ? null : now + input.days_until_due * DAY
}

function notPaid(call: Call, id: string): StripeError {
  const intentId = idOf(defaultPayment(call, id)?.payment.payment_intent)
  const intent = requireRow(call, paymentIntents, intentId)
  const error = intent.last_payment_error
  if (intent.status === 'requires_action' || error === null)
    return new StripeError(
      402,
      'card_error',
      'This payment requires additional user action before it can be completed successfully.',
      { code: 'invoice_payment_intent_requires_action', payment_intent: intent },
      { stored: true },
    )
  const { code = 'card_declined', decline_code: decline = '', message = '' } = error
  const details = { code, decline_code: decline, payment_intent: intent }
  return new StripeError(402, 'card_error', message, details, { stored: true })
}

import type Stripe from 'stripe'
import { embeddedList, itemListOperation } from '../api/item-list.ts'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { choice, flag, group, text, timeRange, unsupported } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { deleteInvoice, markUncollectible, voidInvoice } from '../billing/end-invoice.ts'
import { finalizeInvoice } from '../billing/finalize-invoice.ts'
import {
  createInvoice,
  payInvoice,
  requireDraft,
  updateInvoice,
} from '../billing/invoice-by-hand.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { refused } from '../core/stripe-error.ts'
import { invoiceLines, invoices, type WireInvoice } from '../objects/invoice.ts'
import { invoicePayments } from '../objects/invoice-payment.ts'
import { invoiceCreateParams, invoicePayParams, invoiceUpdateParams } from './invoice-params.ts'

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
    // Left out of an invoice unless asked for.
    payments: { kind: 'invoice_payment', list: true, load: paymentsOf },
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
          throw refused('You can only delete draft invoices that were not made by a subscription.')
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
        // Those of a test clock are listed only by their customer or subscription.
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

/** Parts of an invoice; they have no endpoints of their own. */
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

function paymentsOf({ account }: Scope, id: string) {
  const payments = account.rows(invoicePayments).all((payment) => idOf(payment.invoice) === id)
  return embeddedList(payments, `/v1/invoice_payments?invoice=${id}`)
}

/** A draft is finalized first; nothing is really sent. */
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

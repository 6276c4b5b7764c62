import type Stripe from 'stripe'
import {
  bigint,
  boolean,
  booleanIn,
  entriesOf,
  idIn,
  reference,
  text,
  timeIn,
  timestamp,
  wholeIn,
} from '../mirror-column.ts'
import {
  fetchWholeList,
  referencesTo,
  type StripeResource,
  type SyncContext,
} from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as charges } from './charge-resource.ts'
import { resource as customers } from './customer-resource.ts'
import { resource as paymentIntents } from './payment-intent-resource.ts'
import { resource as subscriptions } from './subscription-resource.ts'

type Id = string | { id?: string } | null

/** Fields that API version 2025-03-31 moved or removed. */
type Older = {
  subscription?: Id
  payment_intent?: Id
  charge?: Id
  paid?: boolean
  tax?: number | null
}

const older = (invoice: Stripe.Invoice): Stripe.Invoice & Older => invoice

function subscriptionOf(invoice: Stripe.Invoice) {
  return invoice.parent?.subscription_details?.subscription ?? older(invoice).subscription
}

/** The payment that paid the invoice, or else its default payment. */
function paymentOf({ payments }: Stripe.Invoice) {
  const all = Array.isArray(payments?.data) ? payments.data : []
  const chosen = all.find((each) => each?.status === 'paid') ?? all.find((each) => each?.is_default)
  return (chosen ?? all[0])?.payment
}

function taxOf(invoice: Stripe.Invoice): number | null | undefined {
  const { total_taxes: taxes } = invoice
  if (!Array.isArray(taxes)) return older(invoice).tax
  return taxes.reduce((sum, tax) => sum + tax?.amount, 0)
}

function isPaid(invoice: Stripe.Invoice): boolean | null {
  const { status } = invoice
  return older(invoice).paid ?? (typeof status === 'string' ? status === 'paid' : null)
}

const line = (...path: string[]) => `line #> '{${path.join(',')}}'`
const itemDetails = (member: string) => line('parent', 'subscription_item_details', member)
const price = (member: string) => line('pricing', 'price_details', member)

/** @see https://docs.stripe.com/api/invoices/object */
export const resource: StripeResource<Stripe.Invoice> = {
  name: 'invoices',
  description: 'An invoice in any status, from draft to paid.',
  objects: ['invoice'],
  idPrefixes: ['in_'],
  columns: {
    number: text((invoice) => invoice.number, { indexed: true }),
    status: text((invoice) => invoice.status, { indexed: true }),
    paid: boolean(isPaid),
    customer: reference((invoice) => invoice.customer),
    customer_email: text((invoice) => invoice.customer_email, { indexed: true }),
    customer_name: text((invoice) => invoice.customer_name),
    subscription: reference(subscriptionOf),
    payment_intent: reference(
      (invoice) => paymentOf(invoice)?.payment_intent ?? older(invoice).payment_intent,
    ),
    charge: reference((invoice) => paymentOf(invoice)?.charge ?? older(invoice).charge),
    currency: text((invoice) => invoice.currency),
    amount_due: bigint((invoice) => invoice.amount_due),
    amount_paid: bigint((invoice) => invoice.amount_paid),
    amount_remaining: bigint((invoice) => invoice.amount_remaining),
    amount_overpaid: bigint((invoice) => invoice.amount_overpaid),
    amount_shipping: bigint((invoice) => invoice.amount_shipping),
    subtotal: bigint((invoice) => invoice.subtotal),
    subtotal_excluding_tax: bigint((invoice) => invoice.subtotal_excluding_tax),
    tax: bigint(taxOf),
    total: bigint((invoice) => invoice.total),
    total_excluding_tax: bigint((invoice) => invoice.total_excluding_tax),
    starting_balance: bigint((invoice) => invoice.starting_balance),
    ending_balance: bigint((invoice) => invoice.ending_balance),
    billing_reason: text((invoice) => invoice.billing_reason),
    collection_method: text((invoice) => invoice.collection_method),
    auto_advance: boolean((invoice) => invoice.auto_advance),
    attempted: boolean((invoice) => invoice.attempted),
    attempt_count: bigint((invoice) => invoice.attempt_count),
    next_payment_attempt: timestamp((invoice) => invoice.next_payment_attempt),
    due_date: timestamp((invoice) => invoice.due_date, { indexed: true }),
    effective_at: timestamp((invoice) => invoice.effective_at),
    finalized_at: timestamp((invoice) => invoice.status_transitions?.finalized_at),
    paid_at: timestamp((invoice) => invoice.status_transitions?.paid_at),
    voided_at: timestamp((invoice) => invoice.status_transitions?.voided_at),
    marked_uncollectible_at: timestamp(
      (invoice) => invoice.status_transitions?.marked_uncollectible_at,
    ),
    period_start: timestamp((invoice) => invoice.period_start),
    period_end: timestamp((invoice) => invoice.period_end),
    default_payment_method: reference((invoice) => invoice.default_payment_method),
    description: text((invoice) => invoice.description),
    receipt_number: text((invoice) => invoice.receipt_number),
    hosted_invoice_url: text((invoice) => invoice.hosted_invoice_url),
    invoice_pdf: text((invoice) => invoice.invoice_pdf),
    statement_descriptor: text((invoice) => invoice.statement_descriptor),
    test_clock: reference((invoice) => invoice.test_clock),
  },
  views: {
    invoice_lines: `
      select mirror.conference_id, line ->> 'id' as id, mirror.id as invoice, mirror.customer,
        mirror.status,
        coalesce(${idIn(itemDetails('subscription'))}, ${idIn(line('subscription'))})
          as subscription,
        coalesce(${idIn(itemDetails('subscription_item'))}, ${idIn(line('subscription_item'))})
          as subscription_item,
        coalesce(${idIn(price('price'))}, ${idIn(line('price'))}, ${idIn(line('plan'))}) as price,
        coalesce(${idIn(price('product'))}, ${idIn(line('price', 'product'))},
          ${idIn(line('plan', 'product'))}) as product,
        ${wholeIn(line('amount'))} as amount, line ->> 'currency' as currency,
        ${wholeIn(line('quantity'))} as quantity, line ->> 'description' as description,
        coalesce(${booleanIn(itemDetails('proration'))},
          ${booleanIn(line('parent', 'invoice_item_details', 'proration'))},
          ${booleanIn(line('proration'))}) as proration,
        ${timeIn(line('period', 'start'))} as period_start,
        ${timeIn(line('period', 'end'))} as period_end,
        line -> 'metadata' as metadata, line as data
      from mirror cross join lateral ${entriesOf(`mirror.data -> 'lines'`)} as line
      where mirror.deleted_at is null`,
  },
  listing: {
    by: 'pages',
    windows: true,
    // Stripe returns payments only when they are expanded. No other field links an invoice to them.
    page: (stripe, params) => stripe.invoices.list({ ...params, expand: ['data.payments'] }),
  },
  // Only drafts can be deleted.
  deletable: true,
  retrieve: (stripe, id) => stripe.invoices.retrieve(id, { expand: ['payments'] }),
  references: (invoice) =>
    referencesTo([customers, invoice.customer], [subscriptions, subscriptionOf(invoice)]),
  complete: async (stripe, invoice) => {
    const { id, lines } = invoice
    if (lines?.has_more !== true) return invoice
    const data = await fetchWholeList((params) => stripe.invoices.listLineItems(id, params))
    return { ...invoice, lines: { ...lines, data, has_more: false } }
  },
  belongsTo: (invoice) => [
    [paymentIntents, paymentOf(invoice)?.payment_intent ?? older(invoice).payment_intent],
    [charges, paymentOf(invoice)?.charge ?? older(invoice).charge],
    [subscriptions, subscriptionOf(invoice)],
    [customers, invoice.customer],
  ],
  createAction: (context) => new StripeInvoiceAction(context),
}

/** Mirrors invoices, including drafts. The view `stripe.invoice_lines` shows their lines. */
export class StripeInvoiceAction extends StripeSyncAction<Stripe.Invoice> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}

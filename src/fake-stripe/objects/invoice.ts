import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

type Pricing = Omit<Stripe.InvoiceLineItem.Pricing, 'unit_amount_decimal'> & {
  unit_amount_decimal: string | null
}

/** Decimals are text on the wire; the SDK makes `Decimal`s of them. */
export type WireInvoiceLine = Omit<Stripe.InvoiceLineItem, 'pricing' | 'quantity_decimal'> & {
  pricing: Pricing | null
  quantity_decimal: string | null
}
export type WireInvoice = Omit<Stripe.Invoice, 'lines' | 'discounts'> & {
  discounts: string[]
  lines: Stripe.ApiList<WireInvoiceLine>
}

export const invoices = defineTable<WireInvoice>('invoice')

/** The lines of an invoice, under the invoice's id. */
export const invoiceLines = defineTable<{ id: string; items: readonly WireInvoiceLine[] }>(
  'invoice.lines',
  { hidden: true },
)

/** Who is told when an invoice is paid or could not be, such as its subscription. */
export const invoiceFollowers = defineTable<{
  id: string
  paid: (scope: Scope) => void
  failed: (scope: Scope) => void
}>('invoice.follower', { hidden: true })

export type InvoiceFields = {
  customer: Stripe.Customer
  currency: string
  /** Seconds since 1970. */
  now: number
} & Partial<WireInvoice>

/** A draft without lines that is not stored yet. */
export function buildInvoice({ account }: Scope, fields: InvoiceFields): WireInvoice {
  const { customer, now, ...rest } = fields
  const id = fakeId('in_1')
  return {
    id,
    object: 'invoice',
    account_country: account.profile.country,
    account_name: account.profile.name,
    account_tax_ids: null,
    amount_due: 0,
    amount_overpaid: 0,
    amount_paid: 0,
    amount_remaining: 0,
    amount_shipping: 0,
    application: null,
    attempt_count: 0,
    attempted: false,
    auto_advance: false,
    automatic_tax: {
      disabled_reason: null,
      enabled: false,
      liability: null,
      provider: null,
      status: null,
    },
    automatically_finalizes_at: null,
    billing_reason: 'manual',
    collection_method: 'charge_automatically',
    created: now,
    custom_fields: null,
    ...customerFields(customer),
    default_payment_method: null,
    default_source: null,
    default_tax_rates: [],
    description: null,
    discounts: [],
    due_date: null,
    effective_at: null,
    ending_balance: null,
    footer: null,
    from_invoice: null,
    hosted_invoice_url: null, // the fake has no page for invoices
    invoice_pdf: null,
    issuer: { type: 'self' },
    last_finalization_error: null,
    latest_revision: null,
    lines: { object: 'list', data: [], has_more: false, url: `/v1/invoices/${id}/lines` },
    livemode: account.livemode,
    metadata: {},
    next_payment_attempt: null,
    number: null,
    on_behalf_of: null,
    parent: null,
    payment_settings: {
      default_mandate: null,
      payment_method_options: null,
      payment_method_types: null,
    },
    period_end: now,
    period_start: now,
    post_payment_credit_notes_amount: 0,
    pre_payment_credit_notes_amount: 0,
    receipt_number: null,
    rendering: null,
    shipping_cost: null,
    shipping_details: null,
    starting_balance: 0,
    statement_descriptor: null,
    status: 'draft',
    status_transitions: {
      finalized_at: null,
      marked_uncollectible_at: null,
      paid_at: null,
      voided_at: null,
    },
    subtotal: 0,
    subtotal_excluding_tax: 0,
    total: 0,
    total_discount_amounts: [],
    total_excluding_tax: 0,
    total_pretax_credit_amounts: [],
    total_taxes: [],
    webhooks_delivered_at: now,
    ...rest,
  }
}

/** What an invoice keeps of its customer, whatever becomes of the customer. */
function customerFields(customer: Stripe.Customer) {
  return {
    customer: customer.id,
    customer_account: null,
    customer_address: customer.address ?? null,
    customer_email: customer.email,
    customer_name: customer.name ?? null,
    customer_phone: customer.phone ?? null,
    customer_shipping: customer.shipping,
    customer_tax_exempt: customer.tax_exempt ?? 'none',
    customer_tax_ids: [],
    test_clock: customer.test_clock ?? null,
  }
}

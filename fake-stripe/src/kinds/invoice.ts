import type Stripe from 'stripe'
import { embeddedList } from '../api/operations.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { formatAmount } from '../core/currency.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { discountAmounts } from './discount.ts'
import type { WirePrice } from './price.ts'
import { products } from './product.ts'
import type { WireSubscriptionItem } from './subscription.ts'

type Pricing = Omit<Stripe.InvoiceLineItem.Pricing, 'unit_amount_decimal'> & {
  unit_amount_decimal: string | null
}

/** Decimals are text in JSON; the SDK turns them into `Decimal`s. */
export type WireInvoiceLine = Omit<Stripe.InvoiceLineItem, 'pricing' | 'quantity_decimal'> & {
  pricing: Pricing | null
  quantity_decimal: string | null
}
export type WireInvoice = Omit<Stripe.Invoice, 'lines' | 'discounts'> & {
  discounts: string[]
  lines: Stripe.ApiList<WireInvoiceLine>
}

export const invoices = defineTable<WireInvoice>('invoice')

/** All lines of an invoice, under the invoice's id. */
export const invoiceLines = defineTable<{ id: string; items: readonly WireInvoiceLine[] }>(
  'invoice.lines',
  { hidden: true },
)

/** Called when an invoice is paid or a payment fails; a subscription listens to its invoices. */
export const invoiceListeners = defineTable<{
  id: string
  paid: (scope: Scope) => void
  failed: (scope: Scope) => void
}>('invoice.follower', { hidden: true })

type InvoiceFields = {
  customer: Stripe.Customer
  currency: string
  /** Seconds since 1970. */
  now: number
} & Partial<WireInvoice>

/** Builds a draft without lines. */
function buildInvoice({ account }: Scope, fields: InvoiceFields): WireInvoice {
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

/** The customer's data that an invoice copies; later changes of the customer do not affect it. */
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

/** Decimals are text in JSON; the SDK turns them into `Decimal`s. */
export type WireInvoiceItem = Omit<Stripe.InvoiceItem, 'pricing' | 'quantity_decimal'> & {
  pricing: WireInvoiceLine['pricing']
  quantity_decimal: string
}

/** Manual items of an invoice; without an invoice an item waits for the customer's next one. */
export const invoiceItems = defineTable<WireInvoiceItem>('invoiceitem', { label: 'invoiceitem' })

/** Which payment intents are for which invoice. @see https://docs.stripe.com/api/invoice-payment */
export const invoicePayments = defineTable<Stripe.InvoicePayment>('invoice_payment')

export function insertInvoicePayment(
  { account }: Scope,
  invoice: { id: string; amount_due: number; currency: string },
  intent: string,
  now: number,
): Stripe.InvoicePayment {
  return account.rows(invoicePayments).insert({
    id: fakeId('inpay_1'),
    object: 'invoice_payment',
    amount_paid: null,
    amount_requested: invoice.amount_due,
    created: now,
    currency: invoice.currency,
    invoice: invoice.id,
    is_default: true,
    livemode: account.livemode,
    payment: { payment_intent: intent, type: 'payment_intent' },
    status: 'open',
    status_transitions: { canceled_at: null, paid_at: null },
  })
}

/** The payment of an invoice; finalizing the invoice creates it. */
export function defaultPayment({ account }: Scope, invoice: string) {
  return account.rows(invoicePayments).all((payment) => idOf(payment.invoice) === invoice)[0]
}

/** Stores a new draft with these lines and sends an event. */
export function draftInvoice(
  scope: Scope,
  fields: InvoiceFields,
  lines: readonly WireInvoiceLine[],
): WireInvoice {
  const { id } = scope.account.rows(invoices).insert(buildInvoice(scope, fields))
  scope.account.rows(invoiceLines).insert({ id, items: [] })
  const invoice = setLines(scope, id, lines)
  emitEvent(scope, 'invoice.created', invoice)
  return invoice
}

/** Replaces the lines of a draft and computes its totals. */
export function setLines(scope: Scope, id: string, lines: readonly WireInvoiceLine[]): WireInvoice {
  const { discounts } = requireRow(scope, invoices, id)
  const items = applyLineDiscounts(scope, id, lines, discounts)
  changeRow(scope, invoiceLines, id, { items })
  const subtotal = items.reduce((sum, line) => sum + line.amount, 0)
  const taken = discounts.map((discount, index) => ({
    amount: items.reduce((sum, line) => sum + (line.discount_amounts?.[index]?.amount ?? 0), 0),
    discount,
  }))
  const total = subtotal - taken.reduce((sum, { amount }) => sum + amount, 0)
  const due = Math.max(total, 0) // Stripe keeps a credit for the next invoice; the fake does not
  return changeRow(scope, invoices, id, {
    amount_due: due,
    amount_remaining: due,
    lines: embeddedList(items, `/v1/invoices/${id}/lines`),
    subtotal,
    subtotal_excluding_tax: subtotal,
    total,
    total_discount_amounts: taken,
    total_excluding_tax: total,
  })
}

/** The customer's invoice items that wait for an invoice in this currency, oldest first. */
export function pendingItems({ account }: Scope, customer: string, currency: string) {
  return account
    .rows(invoiceItems)
    .all(
      (item) =>
        item.invoice === null && idOf(item.customer) === customer && item.currency === currency,
    )
    .toReversed()
}

/** Adds items to a draft. */
export function addItems(scope: Scope, id: string, items: readonly WireInvoiceItem[]): WireInvoice {
  for (const item of items) changeRow(scope, invoiceItems, item.id, { invoice: id })
  const current = requireRow(scope, invoiceLines, id).items
  return setLines(scope, id, [...current, ...items.map((item) => itemLine(scope, item))])
}

function applyLineDiscounts(
  scope: Scope,
  invoice: string,
  lines: readonly WireInvoiceLine[],
  discounts: readonly string[],
): WireInvoiceLine[] {
  const amounts = lines.map((line) => (line.discountable ? line.amount : 0))
  const byDiscount = discounts.map((discount) => {
    const taken = discountAmounts(scope, discount, amounts)
    taken.forEach((amount, index) => {
      amounts[index] = (amounts[index] ?? 0) - amount
    })
    return taken
  })
  return lines.map((line, index) => ({
    ...line,
    invoice,
    discount_amounts: discounts.map((discount, nth) => ({
      amount: byDiscount[nth]?.[index] ?? 0,
      discount,
    })),
  }))
}

export type Period = { start: number; end: number }

/** Smallest unit. */
export function priceAmount(price: WirePrice, quantity: number): number {
  if (price.unit_amount !== null) return price.unit_amount * quantity
  return Math.round(Number(price.unit_amount_decimal ?? 0) * quantity)
}

/** The line for one period of a subscription item; a trial costs nothing. */
export function subscriptionLine(
  scope: Scope,
  item: WireSubscriptionItem,
  period: Period,
  trial: boolean,
): WireInvoiceLine {
  const { price, quantity = 1 } = item
  const amount = trial ? 0 : priceAmount(price, quantity)
  const name = scope.account.rows(products).get(price.product)?.name ?? price.nickname ?? price.id
  const each = formatAmount(priceAmount(price, 1), price.currency)
  return {
    ...emptyLine(scope, price.currency, amount),
    description: trial
      ? `Trial period for ${name}`
      : `${quantity} × ${name} (at ${each} / ${price.recurring?.interval ?? 'once'})`,
    parent: {
      invoice_item_details: null,
      subscription_item_details: {
        invoice_item: null,
        proration: false,
        proration_details: null,
        subscription: item.subscription,
        subscription_item: item.id,
      },
      type: 'subscription_item_details',
    },
    period,
    pricing: pricingOf(price, trial),
    quantity,
    quantity_decimal: String(quantity),
    subscription: item.subscription,
  }
}

/** The line for a manual item. */
export function itemLine(scope: Scope, item: WireInvoiceItem): WireInvoiceLine {
  const subscription = item.parent?.subscription_details?.subscription ?? null
  return {
    ...emptyLine(scope, item.currency, item.amount),
    description: item.description,
    discountable: item.discountable,
    metadata: item.metadata ?? {},
    parent: {
      invoice_item_details: {
        invoice_item: item.id,
        proration: false,
        proration_details: null,
        subscription,
      },
      subscription_item_details: null,
      type: 'invoice_item_details',
    },
    period: item.period,
    pricing: item.pricing,
    quantity: item.quantity,
    quantity_decimal: item.quantity_decimal,
    subscription,
  }
}

export function pricingOf(price: WirePrice, trial = false): WireInvoiceLine['pricing'] {
  return {
    price_details: { price: price.id, product: idOf(price.product) ?? '' },
    type: 'price_details',
    unit_amount_decimal: trial ? '0' : price.unit_amount_decimal,
  }
}

function emptyLine({ account }: Scope, currency: string, amount: number): WireInvoiceLine {
  return {
    id: fakeId('il_1'),
    object: 'line_item',
    amount,
    currency,
    description: null,
    discount_amounts: [],
    discountable: true,
    discounts: [],
    invoice: null,
    livemode: account.livemode,
    metadata: {},
    parent: null,
    period: { start: 0, end: 0 },
    pretax_credit_amounts: [],
    pricing: null,
    quantity: 1,
    quantity_decimal: '1',
    subscription: null,
    subtotal: amount,
    taxes: [],
  }
}

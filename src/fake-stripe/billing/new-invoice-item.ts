import { changeMetadata } from '../api/metadata.ts'
import { type Call, existing } from '../api/resource.ts'
import { emitEvent } from '../core/emit-event.ts'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import { invoices } from '../objects/invoice.ts'
import { invoiceItems, type WireInvoiceItem } from '../objects/invoice-item.ts'
import { prices } from '../objects/price.ts'
import { subscriptions } from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import type { InvoiceItemCreateInput } from '../resources/invoice-params.ts'
import { addItems } from './draft-invoice.ts'
import { requireDraft } from './invoice-by-hand.ts'
import { priceAmount, pricingOf } from './invoice-lines.ts'

type Amounts = Pick<WireInvoiceItem, 'amount' | 'currency' | 'pricing'>

/**
 * Puts something on a draft, or keeps it for the customer's next invoice.
 *
 * @throws StripeError when the invoice is no draft or has another currency.
 * @see https://docs.stripe.com/api/invoiceitems/create
 */
export function newInvoiceItem(call: Call, input: InvoiceItemCreateInput): WireInvoiceItem {
  const { account } = call
  const customer = existing(call, customers, input.customer, 'customer')
  const now = nowBy(call, idOf(customer.test_clock))
  if (input.subscription !== undefined)
    existing(call, subscriptions, input.subscription, 'subscription')
  const draft =
    input.invoice === undefined ? undefined : existing(call, invoices, input.invoice, 'invoice')
  if (draft !== undefined) requireDraft(draft)
  const fallback = draft?.currency ?? customer.currency ?? account.profile.defaultCurrency
  const amounts = amountsOf(call, input, fallback)
  if (draft !== undefined && draft.currency !== amounts.currency)
    throw invalidParameter(
      'currency',
      `The invoice has the currency ${draft.currency}; its items cannot be in ${amounts.currency}.`,
    )
  const item = account.rows(invoiceItems).insert({
    id: fakeId('ii_1'),
    object: 'invoiceitem',
    ...amounts,
    customer: customer.id,
    customer_account: null,
    date: now,
    description: input.description ?? null,
    discountable: input.discountable ?? amounts.amount > 0,
    discounts: [],
    invoice: null,
    livemode: account.livemode,
    metadata: changeMetadata({}, input.metadata),
    net_amount: amounts.amount,
    parent:
      input.subscription === undefined
        ? null
        : {
            subscription_details: { subscription: input.subscription },
            type: 'subscription_details',
          },
    period: input.period ?? { start: now, end: now },
    proration: false,
    quantity: input.quantity ?? 1,
    quantity_decimal: String(input.quantity ?? 1),
    tax_rates: [],
    test_clock: customer.test_clock ?? null,
  })
  if (draft !== undefined) {
    const after = addItems(call, draft.id, [item])
    emitEvent(call, 'invoice.updated', after, draft)
  }
  const created = requireRow(call, invoiceItems, item.id)
  emitEvent(call, 'invoiceitem.created', created)
  return created
}

/** An amount of its own, or a price times the quantity. */
function amountsOf(call: Call, input: InvoiceItemCreateInput, fallback: string): Amounts {
  const { amount, price_data: data, pricing, quantity = 1, unit_amount_decimal: unit } = input
  if (pricing?.price !== undefined) {
    const price = existing(call, prices, pricing.price, 'pricing[price]')
    return {
      amount: priceAmount(price, quantity),
      currency: price.currency,
      pricing: pricingOf(price),
    }
  }
  const each = unit ?? data?.unit_amount_decimal ?? data?.unit_amount
  const total = amount ?? (each === undefined ? undefined : Math.round(Number(each) * quantity))
  if (total === undefined)
    throw invalidParameter('amount', 'Missing required param: amount.', 'parameter_missing')
  return {
    amount: total,
    currency: data?.currency ?? input.currency ?? fallback,
    pricing: { type: 'price_details', unit_amount_decimal: String(each ?? total / quantity) },
  }
}

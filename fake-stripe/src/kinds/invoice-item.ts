import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  amount,
  currency,
  decimal,
  flag,
  group,
  ignored,
  integer,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
} from '../api/params.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { invalidParameter } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { customers } from './customer.ts'
import {
  addItems,
  invoiceItems,
  invoiceLines,
  invoices,
  itemLine,
  priceAmount,
  pricingOf,
  setLines,
  type WireInvoiceItem,
  type WireInvoiceLine,
} from './invoice.ts'
import { requireDraft } from './invoice-api.ts'
import { prices } from './price.ts'
import { subscriptions } from './subscription.ts'
import { nowBy } from './test-clock.ts'

// The parameters that creation and update share.
const itemCommon = {
  amount: integer().optional(),
  description: text().optional(),
  discountable: flag().optional(),
  discounts: unsupported('discounts of invoice items'),
  metadata: metadataParam().optional(),
  period: group({ end: integer({ min: 0 }), start: integer({ min: 0 }) }).optional(),
  price_data: group({
    currency: currency(),
    product: text(),
    tax_behavior: ignored(),
    unit_amount: amount('non-negative').optional(),
    unit_amount_decimal: decimal().optional(),
  }).optional(),
  pricing: group({ price: text().optional() }).optional(),
  quantity: integer({ min: 0 }).optional(),
  quantity_decimal: unsupported('quantity_decimal'),
  tax_behavior: ignored(),
  tax_code: ignored(),
  tax_rates: ignored(),
  unit_amount_decimal: decimal().optional(),
}

/** `POST /v1/invoiceitems` */
const invoiceItemCreateParams = group({
  ...itemCommon,
  currency: currency().optional(),
  customer: text(),
  customer_account: unsupported('customer accounts'),
  invoice: text().optional(),
  subscription: text().optional(),
} satisfies ShapeOf<Stripe.InvoiceItemCreateParams>)

/** `POST /v1/invoiceitems/:id` */
const invoiceItemUpdateParams = group({
  ...itemCommon,
  invoicing_rules: ignored(),
} satisfies ShapeOf<Stripe.InvoiceItemUpdateParams>)

type InvoiceItemCreateInput = z.output<typeof invoiceItemCreateParams>
type InvoiceItemUpdateInput = z.output<typeof invoiceItemUpdateParams>

const PATH = '/v1/invoiceitems'
const kind = invoiceItems.name

/** @see https://docs.stripe.com/api/invoiceitems */
export const invoiceItemResource: Resource = {
  kind,
  expandable: { customer: { kind: 'customer' }, invoice: { kind: 'invoice' } },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: invoiceItemCreateParams,
      run: newInvoiceItem,
    }),
    retrieveOperation(`${PATH}/:id`, invoiceItems),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: invoiceItemUpdateParams,
      run: (call, params, { id = '' }) => updateItem(call, id, params),
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run(call, _params, { id = '' }) {
        const item = editable(call, id)
        call.account.rows(invoiceItems).remove(id)
        changeLine(call, item, () => null)
        emitEvent(call, 'invoiceitem.deleted', item)
        return { id, object: 'invoiceitem', deleted: true }
      },
    }),
    listOperation({
      path: PATH,
      table: invoiceItems,
      filters: {
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
        invoice: text().optional(),
        pending: flag().optional(),
      } satisfies FiltersOf<Stripe.InvoiceItemListParams>,
      where({ created, customer, invoice, pending }) {
        const within = createdWithin(created)
        return (item) =>
          within({ created: item.date }) &&
          (customer ?? idOf(item.customer)) === idOf(item.customer) &&
          (invoice ?? item.invoice) === item.invoice &&
          (pending === undefined || pending === (item.invoice === null))
      },
    }),
  ],
}

/** Stripe sends an event for the draft, but none for the item. */
function updateItem(call: Call, id: string, params: InvoiceItemUpdateInput): WireInvoiceItem {
  const before = editable(call, id)
  const { amount, description, discountable, period } = params
  const { price_data, pricing, quantity, unit_amount_decimal } = params
  const priced = Object.entries({ price_data, pricing, quantity, unit_amount_decimal })
  for (const [param, value] of priced)
    if (value !== undefined)
      throw invalidParameter(param, `fake-stripe does not support changing ${param}.`)
  const after = changeRow(call, invoiceItems, id, {
    ...givenFields({ amount, description, discountable, period, net_amount: amount }),
    metadata: changeMetadata(before.metadata ?? {}, params.metadata),
  })
  changeLine(call, after, (line) => ({ ...itemLine(call, after), id: line.id }))
  return after
}

/** @throws StripeError unless the item has no invoice or its invoice is a draft. */
function editable(call: Call, id: string): WireInvoiceItem {
  const item = existing(call, invoiceItems, id, 'id', 404)
  const invoice = call.account.rows(invoices).get(idOf(item.invoice) ?? '')
  if (invoice !== undefined) requireDraft(invoice)
  return item
}

function changeLine(
  call: Call,
  item: WireInvoiceItem,
  change: (line: WireInvoiceLine) => WireInvoiceLine | null,
): void {
  const draft = call.account.rows(invoices).get(idOf(item.invoice) ?? '')
  if (draft === undefined) return
  const lines = requireRow(call, invoiceLines, draft.id).items.flatMap((line) => {
    const own = line.parent?.invoice_item_details?.invoice_item === item.id
    return own ? (change(line) ?? []) : line
  })
  emitEvent(call, 'invoice.updated', setLines(call, draft.id, lines), draft)
}

type Amounts = Pick<WireInvoiceItem, 'amount' | 'currency' | 'pricing'>

/**
 * Adds an item to a draft, or keeps it for the customer's next invoice.
 *
 * @throws StripeError when the invoice is not a draft or has another currency.
 * @see https://docs.stripe.com/api/invoiceitems/create
 */
function newInvoiceItem(call: Call, input: InvoiceItemCreateInput): WireInvoiceItem {
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

/** The item's amount, or its price times the quantity. */
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

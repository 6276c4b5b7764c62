import type Stripe from 'stripe'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { flag, group, text, timeRange, unsupported } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { setLines } from '../billing/draft-invoice.ts'
import { requireDraft } from '../billing/invoice-by-hand.ts'
import { itemLine } from '../billing/invoice-lines.ts'
import { newInvoiceItem } from '../billing/new-invoice-item.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import { invoiceLines, invoices, type WireInvoiceLine } from '../objects/invoice.ts'
import { invoiceItems, type WireInvoiceItem } from '../objects/invoice-item.ts'
import {
  type InvoiceItemUpdateInput,
  invoiceItemCreateParams,
  invoiceItemUpdateParams,
} from './invoice-params.ts'

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

/** Stripe sends no event for the item, but for the draft that it is on. */
function updateItem(call: Call, id: string, params: InvoiceItemUpdateInput): WireInvoiceItem {
  const before = editable(call, id)
  const { amount, description, discountable, period } = params
  const { price_data, pricing, quantity, unit_amount_decimal } = params
  const priced = Object.entries({ price_data, pricing, quantity, unit_amount_decimal })
  for (const [param, value] of priced)
    if (value !== undefined)
      throw invalidParameter(param, `The fake Stripe does not support changing ${param}.`)
  const after = changeRow(call, invoiceItems, id, {
    ...givenFields({ amount, description, discountable, period, net_amount: amount }),
    metadata: changeMetadata(before.metadata ?? {}, params.metadata),
  })
  changeLine(call, after, (line) => ({ ...itemLine(call, after), id: line.id }))
  return after
}

/** @throws StripeError unless the item waits or is on a draft. */
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

import { embeddedList } from '../api/item-list.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import {
  buildInvoice,
  type InvoiceFields,
  invoiceLines,
  invoices,
  type WireInvoice,
  type WireInvoiceLine,
} from '../objects/invoice.ts'
import { invoiceItems, type WireInvoiceItem } from '../objects/invoice-item.ts'
import { discountedBy } from './apply-discount.ts'
import { itemLine } from './invoice-lines.ts'

/** A new draft with these lines, told to the webhooks. */
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

/** Replaces the lines of a draft and adds up again. */
export function setLines(scope: Scope, id: string, lines: readonly WireInvoiceLine[]): WireInvoice {
  const { discounts } = requireRow(scope, invoices, id)
  const items = discounted(scope, id, lines, discounts)
  changeRow(scope, invoiceLines, id, { items })
  const subtotal = items.reduce((sum, line) => sum + line.amount, 0)
  const taken = discounts.map((discount, index) => ({
    amount: items.reduce((sum, line) => sum + (line.discount_amounts?.[index]?.amount ?? 0), 0),
    discount,
  }))
  const total = subtotal - taken.reduce((sum, { amount }) => sum + amount, 0)
  const due = Math.max(total, 0) // a credit is kept for the next invoice; the fake forgets it
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

/** Puts items on a draft. */
export function addItems(scope: Scope, id: string, items: readonly WireInvoiceItem[]): WireInvoice {
  for (const item of items) changeRow(scope, invoiceItems, item.id, { invoice: id })
  const current = requireRow(scope, invoiceLines, id).items
  return setLines(scope, id, [...current, ...items.map((item) => itemLine(scope, item))])
}

function discounted(
  scope: Scope,
  invoice: string,
  lines: readonly WireInvoiceLine[],
  discounts: readonly string[],
): WireInvoiceLine[] {
  const amounts = lines.map((line) => (line.discountable ? line.amount : 0))
  const byDiscount = discounts.map((discount) => {
    const taken = discountedBy(scope, discount, amounts)
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

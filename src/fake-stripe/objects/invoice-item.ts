import type Stripe from 'stripe'
import { defineTable } from '../core/table.ts'
import type { WireInvoiceLine } from './invoice.ts'

/** Decimals are text on the wire; the SDK makes `Decimal`s of them. */
export type WireInvoiceItem = Omit<Stripe.InvoiceItem, 'pricing' | 'quantity_decimal'> & {
  pricing: WireInvoiceLine['pricing']
  quantity_decimal: string
}

/** What is put on an invoice by hand; without an invoice it waits for the customer's next one. */
export const invoiceItems = defineTable<WireInvoiceItem>('invoiceitem', { label: 'invoiceitem' })

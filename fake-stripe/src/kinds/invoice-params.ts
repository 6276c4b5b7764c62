import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/common-params.ts'
import {
  choice,
  currency,
  emptyable,
  flag,
  group,
  ignored,
  integer,
  list,
  type ShapeOf,
  text,
  unsupported,
} from '../api/params.ts'
import { discountParam } from './discount.ts'

const time = integer({ min: 0 })
const collection = choice('collection_method', ['charge_automatically', 'send_invoice'])

// The parameters that creation and update share.
const common = {
  account_tax_ids: ignored(),
  application_fee_amount: unsupported('application fees'),
  auto_advance: flag().optional(),
  automatic_tax: ignored(),
  automatically_finalizes_at: unsupported('automatically_finalizes_at'),
  collection_method: collection.optional(),
  custom_fields: ignored(),
  days_until_due: integer({ min: 0 }).optional(),
  default_payment_method: text().optional(),
  default_tax_rates: ignored(),
  description: text({ max: 1500 }).optional(),
  discounts: emptyable(list(discountParam, { max: 20 })).optional(),
  due_date: time.optional(),
  footer: text({ max: 5000 }).optional(),
  issuer: ignored(),
  metadata: metadataParam().optional(),
  on_behalf_of: unsupported('connected accounts'),
  payment_settings: ignored(),
  rendering: ignored(),
  shipping_cost: unsupported('shipping'),
  shipping_details: ignored(),
  statement_descriptor: text({ max: 22 }).optional(),
  transfer_data: unsupported('connected accounts'),
}

/** `POST /v1/invoices` */
export const invoiceCreateParams = group({
  ...common,
  currency: currency().optional(),
  customer: text(),
  customer_account: unsupported('customer accounts'),
  default_source: text().optional(),
  effective_at: time.optional(),
  from_invoice: unsupported('revisions of invoices'),
  number: text({ max: 26 }).optional(),
  pending_invoice_items_behavior: choice('pending_invoice_items_behavior', [
    'exclude',
    'include',
  ]).optional(),
  subscription: unsupported('manual invoices of a subscription'),
} satisfies ShapeOf<Stripe.InvoiceCreateParams>)

/** `POST /v1/invoices/:id` */
export const invoiceUpdateParams = group({
  ...common,
  default_source: emptyable(text()).optional(),
  effective_at: emptyable(time).optional(),
  number: emptyable(text({ max: 26 })).optional(),
} satisfies ShapeOf<Stripe.InvoiceUpdateParams>)

/** `POST /v1/invoices/:id/pay` */
export const invoicePayParams = group({
  forgive: ignored(),
  mandate: ignored(),
  off_session: flag().optional(),
  paid_out_of_band: flag().optional(),
  payment_method: text().optional(),
  source: text().optional(),
} satisfies ShapeOf<Stripe.InvoicePayParams>)

export type InvoiceCreateInput = z.output<typeof invoiceCreateParams>
export type InvoiceUpdateInput = z.output<typeof invoiceUpdateParams>
export type InvoicePayInput = z.output<typeof invoicePayParams>

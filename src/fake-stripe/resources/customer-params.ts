import type Stripe from 'stripe'
import type { z } from 'zod'
import { addressParam, addressShape } from '../api/address-param.ts'
import { metadataParam } from '../api/metadata.ts'
import {
  choice,
  email,
  emptyable,
  group,
  ignored,
  integer,
  list,
  type ShapeOf,
  text,
} from '../api/params.ts'

const shared = {
  address: addressParam().optional(),
  balance: integer().optional(),
  business_name: emptyable(text({ max: 150 })).optional(),
  cash_balance: ignored(),
  // The SDK's types do not let these be emptied, but Stripe does.
  description: emptyable(text()).optional(),
  email: emptyable(email()).optional(),
  individual_name: emptyable(text({ max: 150 })).optional(),
  invoice_prefix: text({ max: 12 }).optional(),
  invoice_settings: group({
    custom_fields: ignored(),
    default_payment_method: text().optional(),
    footer: text().optional(),
    rendering_options: ignored(),
  }).optional(),
  metadata: metadataParam().optional(),
  name: emptyable(text({ max: 256 })).optional(),
  next_invoice_sequence: integer({ min: 1 }).optional(),
  phone: emptyable(text({ max: 20 })).optional(),
  preferred_locales: list(text()).optional(),
  shipping: emptyable(
    group({ address: group(addressShape), name: text(), phone: text().optional() }),
  ).optional(),
  source: text().optional(),
  tax: ignored(),
  tax_exempt: emptyable(choice('tax_exempt', ['exempt', 'none', 'reverse'])).optional(),
  validate: ignored(),
}

/** `POST /v1/customers` */
export const customerCreateParams = group({
  ...shared,
  payment_method: text().optional(),
  tax_id_data: ignored(),
  test_clock: text().optional(),
} satisfies ShapeOf<Stripe.CustomerCreateParams>)

/** `POST /v1/customers/:id` */
export const customerUpdateParams = group({
  ...shared,
  default_source: text().optional(),
} satisfies ShapeOf<Stripe.CustomerUpdateParams>)

export type CustomerCreateInput = z.output<typeof customerCreateParams>
export type CustomerUpdateInput = z.output<typeof customerUpdateParams>

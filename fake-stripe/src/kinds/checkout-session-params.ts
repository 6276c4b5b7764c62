import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/common-params.ts'
import {
  amount,
  choice,
  currency,
  decimal,
  email,
  emptyable,
  flag,
  group,
  ignored,
  integer,
  list,
  type ShapeOf,
  text,
  unsupported,
  url,
} from '../api/params.ts'

// Each shape is checked against the SDK's type, so the fake knows exactly the parameters of this
// API version: a new one is a compile error, a retired one is refused as unknown.

const productData = {
  description: text().optional(),
  images: list(url(), { max: 8 }).optional(),
  metadata: metadataParam().optional(),
  name: text(),
  tax_code: text().optional(),
  tax_details: ignored(),
  unit_label: text().optional(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.LineItem.PriceData.ProductData>

const priceData = {
  currency: currency(),
  product: text().optional(),
  product_data: group(productData).optional(),
  recurring: unsupported('recurring prices'),
  tax_behavior: choice('tax_behavior', ['exclusive', 'inclusive', 'unspecified']).optional(),
  unit_amount: amount('non-negative').optional(),
  unit_amount_decimal: decimal().optional(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.LineItem.PriceData>

const adjustableQuantity = {
  enabled: flag(),
  maximum: integer({ min: 2, max: 999_999 }).optional(),
  minimum: integer({ min: 0 }).optional(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.LineItem.AdjustableQuantity>

const lineItem = {
  adjustable_quantity: group(adjustableQuantity).optional(),
  metadata: metadataParam().optional(),
  price: text().optional(),
  price_data: group(priceData).optional(),
  quantity: integer({ min: 1, max: 999_999_999_999 }).optional(),
  tax_rates: ignored(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.LineItem>

const paymentIntentData = {
  application_fee_amount: unsupported('application fees'),
  capture_method: choice('capture_method', ['automatic', 'automatic_async']).optional(),
  description: text({ max: 1000 }).optional(),
  metadata: metadataParam().optional(),
  on_behalf_of: unsupported('connected accounts'),
  receipt_email: email().optional(),
  setup_future_usage: choice('setup_future_usage', ['off_session', 'on_session']).optional(),
  shipping: ignored(),
  statement_descriptor: text({ max: 22 }).optional(),
  statement_descriptor_suffix: text({ max: 22 }).optional(),
  transfer_data: unsupported('connected accounts'),
  transfer_group: text().optional(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.PaymentIntentData>

const invoiceData = {
  account_tax_ids: ignored(),
  custom_fields: emptyable(
    list(group({ name: text({ max: 40 }), value: text({ max: 140 }) }), { max: 4 }),
  ).optional(),
  description: text({ max: 1500 }).optional(),
  footer: text().optional(),
  issuer: ignored(),
  metadata: metadataParam().optional(),
  rendering_options: ignored(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.InvoiceCreation.InvoiceData>

const setupIntentData = {
  description: text({ max: 1000 }).optional(),
  metadata: metadataParam().optional(),
  on_behalf_of: unsupported('connected accounts'),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams.SetupIntentData>

const shape = {
  adaptive_pricing: group({ enabled: flag().optional() }).optional(),
  after_expiration: ignored(),
  allow_promotion_codes: flag().optional(),
  allowed_payment_method_types: list(text()).optional(),
  automatic_tax: unsupported('automatic tax'),
  billing_address_collection: choice('billing_address_collection', ['auto', 'required']).optional(),
  branding_settings: ignored(),
  cancel_url: url().optional(),
  client_reference_id: text({ max: 200 }).optional(),
  consent_collection: ignored(),
  currency: currency().optional(),
  custom_fields: ignored(),
  custom_text: ignored(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  customer_creation: choice('customer_creation', ['always', 'if_required']).optional(),
  customer_email: email().optional(),
  customer_update: ignored(),
  discounts: unsupported('discounts of a session'),
  excluded_payment_method_types: list(text()).optional(),
  expires_at: integer().optional(),
  integration_identifier: text().optional(),
  invoice_creation: group({
    enabled: flag(),
    invoice_data: group(invoiceData).optional(),
  }).optional(),
  line_items: list(group(lineItem)).optional(),
  locale: text().optional(),
  managed_payments: ignored(),
  metadata: metadataParam().optional(),
  mode: choice('mode', ['payment', 'setup', 'subscription']),
  name_collection: ignored(),
  optional_items: unsupported('optional items'),
  origin_context: choice('origin_context', ['mobile_app', 'web']).optional(),
  payment_intent_data: group(paymentIntentData).optional(),
  payment_method_collection: choice('payment_method_collection', [
    'always',
    'if_required',
  ]).optional(),
  payment_method_configuration: ignored(),
  payment_method_data: ignored(),
  payment_method_options: ignored(),
  permissions: ignored(),
  phone_number_collection: group({ enabled: flag() }).optional(),
  redirect_on_completion: unsupported('embedded sessions'),
  return_url: unsupported('embedded sessions'),
  saved_payment_method_options: ignored(),
  setup_intent_data: group(setupIntentData).optional(),
  shipping_address_collection: ignored(),
  shipping_options: unsupported('shipping'),
  submit_type: choice('submit_type', ['auto', 'book', 'donate', 'pay', 'subscribe']).optional(),
  subscription_data: unsupported('subscriptions by Checkout'),
  success_url: url(),
  tax_id_collection: group({
    enabled: flag(),
    required: choice('required', ['if_supported', 'never']).optional(),
  }).optional(),
  ui_mode: choice('ui_mode', ['hosted_page']).optional(),
  wallet_options: ignored(),
} satisfies ShapeOf<Stripe.Checkout.SessionCreateParams>

/** `POST /v1/checkout/sessions`. @see https://docs.stripe.com/api/checkout/sessions/create */
export const sessionCreateParams = group(shape)

export type SessionCreateInput = z.output<typeof sessionCreateParams>
export type LineItemInput = NonNullable<SessionCreateInput['line_items']>[number]
export type PaymentIntentDataInput = NonNullable<SessionCreateInput['payment_intent_data']>
export type SetupIntentDataInput = NonNullable<SessionCreateInput['setup_intent_data']>

export const sessionUpdateParams = group({
  collected_information: ignored(),
  line_items: unsupported('changing line items'),
  metadata: metadataParam().optional(),
  payment_intent_data: ignored(),
  shipping_options: unsupported('shipping'),
} satisfies ShapeOf<Stripe.Checkout.SessionUpdateParams>)

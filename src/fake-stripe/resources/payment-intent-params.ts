import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/metadata.ts'
import {
  amount,
  choice,
  currency,
  email,
  emptyable,
  flag,
  group,
  ignored,
  list,
  type ShapeOf,
  text,
  unsupported,
  url,
} from '../api/params.ts'

const futureUsage = choice('setup_future_usage', ['off_session', 'on_session'])

// What the fake treats alike on every request about an intent.
const common = {
  amount_details: ignored(),
  capture_method: choice('capture_method', ['automatic', 'automatic_async']).optional(),
  excluded_payment_method_types: ignored(),
  hooks: ignored(),
  payment_details: ignored(),
  payment_method: text().optional(),
  payment_method_data: unsupported('raw payment method data; use a test payment method'),
  payment_method_options: ignored(),
  shipping: ignored(),
}

/** `POST /v1/payment_intents` */
export const intentCreateParams = group({
  ...common,
  allowed_payment_method_types: list(text()).optional(),
  amount: amount('positive'),
  application_fee_amount: unsupported('application fees'),
  automatic_payment_methods: group({
    allow_redirects: choice('allow_redirects', ['always', 'never']).optional(),
    enabled: flag(),
  }).optional(),
  confirm: flag().optional(),
  confirmation_method: choice('confirmation_method', ['automatic', 'manual']).optional(),
  confirmation_token: unsupported('confirmation tokens'),
  currency: currency(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  description: text({ max: 1000 }).optional(),
  error_on_requires_action: ignored(),
  mandate: ignored(),
  mandate_data: ignored(),
  metadata: metadataParam().optional(),
  off_session: flag().optional(),
  on_behalf_of: unsupported('connected accounts'),
  payment_method_configuration: ignored(),
  radar_options: ignored(),
  receipt_email: email().optional(),
  return_url: url().optional(),
  setup_future_usage: futureUsage.optional(),
  statement_descriptor: text({ max: 22 }).optional(),
  statement_descriptor_suffix: text({ max: 22 }).optional(),
  transfer_data: unsupported('connected accounts'),
  transfer_group: text().optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.PaymentIntentCreateParams>)

/** `POST /v1/payment_intents/:id` */
export const intentUpdateParams = group({
  ...common,
  allowed_payment_method_types: ignored(),
  amount: amount('positive').optional(),
  application_fee_amount: unsupported('application fees'),
  currency: currency().optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  description: text({ max: 1000 }).optional(),
  metadata: metadataParam().optional(),
  payment_method_configuration: ignored(),
  receipt_email: emptyable(email()).optional(),
  setup_future_usage: emptyable(futureUsage).optional(),
  statement_descriptor: text({ max: 22 }).optional(),
  statement_descriptor_suffix: text({ max: 22 }).optional(),
  transfer_data: unsupported('connected accounts'),
  transfer_group: text().optional(),
} satisfies ShapeOf<Stripe.PaymentIntentUpdateParams>)

export type IntentUpdateInput = z.output<typeof intentUpdateParams>

/** `POST /v1/payment_intents/:id/confirm` */
export const intentConfirmParams = group({
  ...common,
  allowed_payment_method_types: ignored(),
  amount_to_confirm: ignored(),
  confirmation_token: unsupported('confirmation tokens'),
  error_on_requires_action: ignored(),
  mandate: ignored(),
  mandate_data: ignored(),
  off_session: flag().optional(),
  radar_options: ignored(),
  receipt_email: emptyable(email()).optional(),
  return_url: url().optional(),
  setup_future_usage: emptyable(futureUsage).optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.PaymentIntentConfirmParams>)

import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/metadata.ts'
import {
  choice,
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

// What the fake treats alike on every request about a setup intent.
const common = {
  excluded_payment_method_types: ignored(),
  flow_directions: ignored(),
  payment_method: text().optional(),
  payment_method_configuration: ignored(),
  payment_method_data: unsupported('raw payment method data; use a test payment method'),
  payment_method_options: ignored(),
  attach_to_self: unsupported('setup intents of the account itself'),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  description: text({ max: 1000 }).optional(),
}

/** `POST /v1/setup_intents` */
export const setupCreateParams = group({
  ...common,
  allowed_payment_method_types: list(text()).optional(),
  automatic_payment_methods: group({
    allow_redirects: choice('allow_redirects', ['always', 'never']).optional(),
    enabled: flag(),
  }).optional(),
  confirm: flag().optional(),
  confirmation_token: unsupported('confirmation tokens'),
  mandate_data: ignored(),
  metadata: metadataParam().optional(),
  on_behalf_of: unsupported('connected accounts'),
  return_url: url().optional(),
  single_use: unsupported('single-use mandates'),
  usage: choice('usage', ['off_session', 'on_session']).optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.SetupIntentCreateParams>)

/** `POST /v1/setup_intents/:id` */
export const setupUpdateParams = group({
  ...common,
  allowed_payment_method_types: emptyable(list(text())).optional(),
  metadata: metadataParam().optional(),
} satisfies ShapeOf<Stripe.SetupIntentUpdateParams>)

/** `POST /v1/setup_intents/:id/confirm` */
export const setupConfirmParams = group({
  allowed_payment_method_types: ignored(),
  confirmation_token: unsupported('confirmation tokens'),
  mandate_data: ignored(),
  payment_method: text().optional(),
  payment_method_data: unsupported('raw payment method data; use a test payment method'),
  payment_method_options: ignored(),
  return_url: url().optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.SetupIntentConfirmParams>)

export type SetupUpdateInput = z.output<typeof setupUpdateParams>

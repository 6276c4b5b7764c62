import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/common-params.ts'
import {
  amount,
  choice,
  currency,
  decimal,
  emptyable,
  flag,
  group,
  ignored,
  integer,
  list,
  nowOrTime,
  type ShapeOf,
  text,
  unsupported,
} from '../api/params.ts'
import { discountParam } from './discount.ts'

const priceData = {
  currency: currency(),
  product: text(),
  recurring: group({
    interval: choice('interval', ['day', 'month', 'week', 'year']),
    interval_count: integer({ min: 1, max: 1095 }).optional(),
  }),
  tax_behavior: choice('tax_behavior', ['exclusive', 'inclusive', 'unspecified']).optional(),
  unit_amount: amount('non-negative').optional(),
  unit_amount_decimal: decimal().optional(),
} satisfies ShapeOf<Stripe.SubscriptionCreateParams.Item.PriceData>

/** The parameters of an item, in a subscription or alone. */
export const itemShape = {
  billing_thresholds: unsupported('billing thresholds'),
  current_trial: unsupported('trial offers'),
  discounts: emptyable(list(discountParam)).optional(),
  metadata: metadataParam().optional(),
  plan: text().optional(),
  price: text().optional(),
  price_data: group(priceData).optional(),
  quantity: integer({ min: 0 }).optional(),
  tax_rates: ignored(),
}

/** The payment of a change; prorations are accepted but not computed. */
export const changeShape = {
  payment_behavior: choice('payment_behavior', [
    'allow_incomplete',
    'default_incomplete',
    'error_if_incomplete',
    'pending_if_incomplete',
  ]).optional(),
  proration_behavior: choice('proration_behavior', [
    'always_invoice',
    'create_prorations',
    'none',
  ]).optional(),
}

export const cancellationDetails = group({
  comment: emptyable(text()).optional(),
  feedback: emptyable(
    choice('feedback', [
      'customer_service',
      'low_quality',
      'missing_features',
      'other',
      'switched_service',
      'too_complex',
      'too_expensive',
      'unused',
    ]),
  ).optional(),
  feedback_option: text().optional(),
} satisfies ShapeOf<Stripe.SubscriptionCancelParams.CancellationDetails>)

const collection = choice('collection_method', ['charge_automatically', 'send_invoice'])

// The parameters that creation and update share.
const common = {
  ...changeShape,
  add_invoice_items: unsupported('add_invoice_items; use invoice items'),
  application_fee_percent: unsupported('application fees'),
  automatic_tax: ignored(),
  billing_schedules: unsupported('billing schedules'),
  billing_thresholds: unsupported('billing thresholds'),
  cancel_at_period_end: flag().optional(),
  collection_method: collection.optional(),
  days_until_due: integer({ min: 0 }).optional(),
  default_payment_method: text().optional(),
  default_tax_rates: ignored(),
  discounts: emptyable(list(discountParam, { max: 20 })).optional(),
  invoice_settings: ignored(),
  metadata: metadataParam().optional(),
  off_session: flag().optional(),
  on_behalf_of: unsupported('connected accounts'),
  payment_settings: ignored(),
  pending_invoice_item_interval: unsupported('pending_invoice_item_interval'),
  transfer_data: unsupported('connected accounts'),
  trial_end: nowOrTime().optional(),
  trial_from_plan: flag().optional(),
  trial_settings: group({
    end_behavior: group({
      billing_cycle_anchor: ignored(),
      missing_payment_method: choice('missing_payment_method', [
        'cancel',
        'create_invoice',
        'pause',
      ]),
    }),
  }).optional(),
}

/** `POST /v1/subscriptions` */
export const subscriptionCreateParams = group({
  ...common,
  backdate_start_date: unsupported('backdated subscriptions'),
  billing_cycle_anchor: unsupported('a billing cycle anchor'),
  billing_cycle_anchor_config: unsupported('a billing cycle anchor'),
  billing_mode: ignored(),
  cancel_at: integer({ min: 0 }).optional(),
  currency: currency().optional(),
  customer: text(),
  customer_account: unsupported('customer accounts'),
  default_source: text().optional(),
  description: text({ max: 500 }).optional(),
  items: list(group(itemShape satisfies ShapeOf<Stripe.SubscriptionCreateParams.Item>)).optional(),
  trial_period_days: integer({ min: 0, max: 730 }).optional(),
} satisfies ShapeOf<Stripe.SubscriptionCreateParams>)

/** `POST /v1/subscriptions/:id` */
export const subscriptionUpdateParams = group({
  ...common,
  billing_cycle_anchor: unsupported('a new billing cycle anchor'),
  cancel_at: emptyable(integer({ min: 0 })).optional(),
  cancellation_details: cancellationDetails.optional(),
  default_source: emptyable(text()).optional(),
  description: emptyable(text({ max: 500 })).optional(),
  items: list(
    group({
      ...itemShape,
      clear_usage: ignored(),
      deleted: flag().optional(),
      id: text().optional(),
    } satisfies ShapeOf<Stripe.SubscriptionUpdateParams.Item>),
  ).optional(),
  pause_collection: emptyable(
    group({
      behavior: choice('behavior', ['keep_as_draft', 'mark_uncollectible', 'void']),
      resumes_at: integer({ min: 0 }).optional(),
    }),
  ).optional(),
  proration_date: ignored(),
} satisfies ShapeOf<Stripe.SubscriptionUpdateParams>)

export type SubscriptionCreateInput = z.output<typeof subscriptionCreateParams>
export type SubscriptionUpdateInput = z.output<typeof subscriptionUpdateParams>

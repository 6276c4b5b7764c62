import type Stripe from 'stripe'
import { metadataParam } from '../api/metadata.ts'
import {
  amount,
  choice,
  currency,
  decimal,
  emptyable,
  flag,
  group,
  idOr,
  integer,
  type ShapeOf,
  text,
  unsupported,
} from '../api/params.ts'
import { inlineProductParams, priceInterval, taxBehavior } from './product-params.ts'

const usageType = () => choice('usage_type', ['licensed', 'metered']).optional()
const billingScheme = () => choice('billing_scheme', ['per_unit', 'tiered']).optional()
const trialDays = () => integer({ min: 0, max: 730 }).optional()

const transform = group({
  divide_by: integer({ min: 1 }),
  round: choice('round', ['down', 'up']),
} satisfies ShapeOf<Stripe.PriceCreateParams.TransformQuantity> &
  ShapeOf<Stripe.PlanCreateParams.TransformUsage>)

/** `POST /v1/prices`. @see https://docs.stripe.com/api/prices/create */
export const priceCreateParams = group({
  active: flag().optional(),
  billing_scheme: billingScheme(),
  currency: currency(),
  currency_options: unsupported('prices in several currencies'),
  custom_unit_amount: unsupported('prices that the payer chooses'),
  lookup_key: text({ max: 200 }).optional(),
  metadata: metadataParam().optional(),
  nickname: text().optional(),
  product: text().optional(),
  product_data: inlineProductParams.optional(),
  recurring: group({
    interval: priceInterval(),
    interval_count: integer({ min: 1 }).optional(),
    meter: unsupported('meters'),
    trial_period_days: trialDays(),
    usage_type: usageType(),
  } satisfies ShapeOf<Stripe.PriceCreateParams.Recurring>).optional(),
  tax_behavior: taxBehavior(),
  tiers: unsupported('tiered prices'),
  tiers_mode: unsupported('tiered prices'),
  transfer_lookup_key: flag().optional(),
  transform_quantity: transform.optional(),
  unit_amount: amount('non-negative').optional(),
  unit_amount_decimal: decimal().optional(),
} satisfies ShapeOf<Stripe.PriceCreateParams>)

export const priceUpdateParams = group({
  active: flag().optional(),
  currency_options: unsupported('prices in several currencies'),
  // The SDK's types do not let these be emptied, but Stripe does.
  lookup_key: emptyable(text({ max: 200 })).optional(),
  metadata: metadataParam().optional(),
  nickname: emptyable(text()).optional(),
  tax_behavior: taxBehavior(),
  transfer_lookup_key: flag().optional(),
} satisfies ShapeOf<Stripe.PriceUpdateParams>)

/** `POST /v1/plans`. @see https://docs.stripe.com/api/plans/create */
export const planCreateParams = group({
  active: flag().optional(),
  amount: amount('non-negative').optional(),
  amount_decimal: decimal().optional(),
  billing_scheme: billingScheme(),
  currency: currency(),
  id: text().optional(),
  interval: priceInterval(),
  interval_count: integer({ min: 1 }).optional(),
  metadata: metadataParam().optional(),
  meter: unsupported('meters'),
  nickname: text().optional(),
  product: idOr(inlineProductParams),
  tiers: unsupported('tiered prices'),
  tiers_mode: unsupported('tiered prices'),
  transform_usage: transform.optional(),
  trial_period_days: trialDays(),
  usage_type: usageType(),
} satisfies ShapeOf<Stripe.PlanCreateParams>)

export const planUpdateParams = group({
  active: flag().optional(),
  metadata: metadataParam().optional(),
  nickname: text().optional(),
  product: text().optional(),
  trial_period_days: trialDays(),
} satisfies ShapeOf<Stripe.PlanUpdateParams>)

import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/metadata.ts'
import {
  amount,
  byCurrency,
  choice,
  currency,
  flag,
  group,
  integer,
  type ShapeOf,
  text,
  unsupported,
} from '../api/params.ts'

const currencyOptions = byCurrency({
  minimum_amount: amount('positive').optional(),
} satisfies ShapeOf<Stripe.PromotionCodeCreateParams.Restrictions.CurrencyOptions>)

/** `POST /v1/promotion_codes`. @see https://docs.stripe.com/api/promotion_codes/create */
export const promotionCodeCreateParams = group({
  active: flag().optional(),
  code: text({ max: 500 }).optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  expires_at: integer().optional(),
  max_redemptions: integer({ min: 1 }).optional(),
  metadata: metadataParam().optional(),
  promotion: group({
    coupon: text().optional(),
    type: choice('type', ['coupon']),
  } satisfies ShapeOf<Stripe.PromotionCodeCreateParams.Promotion>),
  restrictions: group({
    currency_options: currencyOptions.optional(),
    first_time_transaction: flag().optional(),
    minimum_amount: amount('positive').optional(),
    minimum_amount_currency: currency().optional(),
  } satisfies ShapeOf<Stripe.PromotionCodeCreateParams.Restrictions>).optional(),
} satisfies ShapeOf<Stripe.PromotionCodeCreateParams>)

export const promotionCodeUpdateParams = group({
  active: flag().optional(),
  metadata: metadataParam().optional(),
  restrictions: group({
    currency_options: currencyOptions.optional(),
  } satisfies ShapeOf<Stripe.PromotionCodeUpdateParams.Restrictions>).optional(),
} satisfies ShapeOf<Stripe.PromotionCodeUpdateParams>)

export type PromotionCodeCreateInput = z.output<typeof promotionCodeCreateParams>
export type PromotionCodeUpdateInput = z.output<typeof promotionCodeUpdateParams>

import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/metadata.ts'
import {
  amount,
  byCurrency,
  choice,
  currency,
  emptyable,
  fraction,
  group,
  integer,
  list,
  type ShapeOf,
  text,
} from '../api/params.ts'

const currencyOptions = byCurrency({
  amount_off: amount('positive'),
} satisfies ShapeOf<Stripe.CouponCreateParams.CurrencyOptions>)

/** `POST /v1/coupons`. @see https://docs.stripe.com/api/coupons/create */
export const couponCreateParams = group({
  amount_off: amount('positive').optional(),
  applies_to: group({
    products: list(text()).optional(),
  } satisfies ShapeOf<Stripe.CouponCreateParams.AppliesTo>).optional(),
  currency: currency().optional(),
  currency_options: currencyOptions.optional(),
  duration: choice('duration', ['forever', 'once', 'repeating']).optional(),
  duration_in_months: integer({ min: 1 }).optional(),
  id: text().optional(),
  max_redemptions: integer({ min: 1 }).optional(),
  metadata: metadataParam().optional(),
  name: emptyable(text({ max: 40 })).optional(),
  percent_off: fraction({ min: 0.01, max: 100 }).optional(),
  redeem_by: integer().optional(),
} satisfies ShapeOf<Stripe.CouponCreateParams>)

export type CouponCreateInput = z.output<typeof couponCreateParams>

export const couponUpdateParams = group({
  currency_options: currencyOptions.optional(),
  metadata: metadataParam().optional(),
  name: emptyable(text({ max: 40 })).optional(),
} satisfies ShapeOf<Stripe.CouponUpdateParams>)

export type CouponUpdateInput = z.output<typeof couponUpdateParams>

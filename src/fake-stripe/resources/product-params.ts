import type Stripe from 'stripe'
import type { z } from 'zod'
import { metadataParam } from '../api/metadata.ts'
import {
  amount,
  choice,
  currency,
  decimal,
  emptyable,
  flag,
  fraction,
  group,
  ignored,
  integer,
  list,
  type ShapeOf,
  text,
  unsupported,
  url,
} from '../api/params.ts'

const size = () => fraction({ min: 0.01, max: 1_000_000 })
const packageDimensions = group({
  height: size(),
  length: size(),
  weight: size(),
  width: size(),
} satisfies ShapeOf<Stripe.ProductCreateParams.PackageDimensions>)

const marketingFeatures = list(group({ name: text({ max: 80 }) }), { max: 15 })
const images = list(url(), { max: 8 })

export const priceInterval = () => choice('interval', ['day', 'month', 'week', 'year'])
export const taxBehavior = () =>
  choice('tax_behavior', ['exclusive', 'inclusive', 'unspecified']).optional()

const defaultPrice = {
  currency: currency(),
  currency_options: unsupported('prices in several currencies'),
  custom_unit_amount: unsupported('prices that the payer chooses'),
  metadata: metadataParam().optional(),
  recurring: group({
    interval: priceInterval(),
    interval_count: integer({ min: 1 }).optional(),
  } satisfies ShapeOf<Stripe.ProductCreateParams.DefaultPriceData.Recurring>).optional(),
  tax_behavior: taxBehavior(),
  unit_amount: amount('non-negative').optional(),
  unit_amount_decimal: decimal().optional(),
} satisfies ShapeOf<Stripe.ProductCreateParams.DefaultPriceData>

/** `POST /v1/products`. @see https://docs.stripe.com/api/products/create */
export const productCreateParams = group({
  active: flag().optional(),
  default_price_data: group(defaultPrice).optional(),
  description: text().optional(),
  id: text().optional(),
  images: images.optional(),
  marketing_features: marketingFeatures.optional(),
  metadata: metadataParam().optional(),
  name: text(),
  package_dimensions: packageDimensions.optional(),
  shippable: flag().optional(),
  statement_descriptor: text({ max: 22 }).optional(),
  tax_code: text().optional(),
  tax_details: ignored(),
  type: choice('type', ['good', 'service']).optional(),
  unit_label: text({ max: 12 }).optional(),
  url: url().optional(),
} satisfies ShapeOf<Stripe.ProductCreateParams>)

export const productUpdateParams = group({
  active: flag().optional(),
  default_price: text().optional(),
  description: emptyable(text()).optional(),
  images: emptyable(images).optional(),
  marketing_features: emptyable(marketingFeatures).optional(),
  metadata: metadataParam().optional(),
  name: text().optional(),
  package_dimensions: emptyable(packageDimensions).optional(),
  shippable: flag().optional(),
  statement_descriptor: text({ max: 22 }).optional(),
  tax_code: emptyable(text()).optional(),
  tax_details: ignored(),
  unit_label: emptyable(text({ max: 12 })).optional(),
  url: emptyable(url()).optional(),
} satisfies ShapeOf<Stripe.ProductUpdateParams>)

export type ProductCreateInput = z.output<typeof productCreateParams>
export type ProductUpdateInput = z.output<typeof productUpdateParams>

/** A product that is made together with its price or plan. */
export const inlineProductParams = group({
  active: flag().optional(),
  id: text().optional(),
  metadata: metadataParam().optional(),
  name: text(),
  statement_descriptor: text({ max: 22 }).optional(),
  tax_code: text().optional(),
  tax_details: ignored(),
  unit_label: text({ max: 12 }).optional(),
} satisfies ShapeOf<Stripe.PriceCreateParams.ProductData> &
  ShapeOf<Stripe.PlanCreateParams.Product>)

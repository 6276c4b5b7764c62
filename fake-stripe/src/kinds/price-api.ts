import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  amount,
  choice,
  currency,
  decimal,
  emptyable,
  flag,
  group,
  integer,
  list,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
} from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { changeRow, givenFields } from '../core/changes.ts'
import { invalidParameter, refused } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import {
  checkPrice,
  claimLookupKey,
  emitPriceEvent,
  insertPrice,
  prices,
  requireTiers,
  type WirePrice,
} from './price.ts'
import {
  createProduct,
  inlineProductParams,
  priceInterval,
  products,
  taxBehavior,
} from './product.ts'

export const usageType = () => choice('usage_type', ['licensed', 'metered']).optional()
export const billingScheme = () => choice('billing_scheme', ['per_unit', 'tiered']).optional()
export const trialDays = () => integer({ min: 0, max: 730 }).optional()

export const transformQuantity = group({
  divide_by: integer({ min: 1 }),
  round: choice('round', ['down', 'up']),
} satisfies ShapeOf<Stripe.PriceCreateParams.TransformQuantity> &
  ShapeOf<Stripe.PlanCreateParams.TransformUsage>)

/** `POST /v1/prices`. @see https://docs.stripe.com/api/prices/create */
const priceCreateParams = group({
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
  transform_quantity: transformQuantity.optional(),
  unit_amount: amount('non-negative').optional(),
  unit_amount_decimal: decimal().optional(),
} satisfies ShapeOf<Stripe.PriceCreateParams>)

const priceUpdateParams = group({
  active: flag().optional(),
  currency_options: unsupported('prices in several currencies'),
  // Stripe accepts an empty value here, though the SDK's types do not.
  lookup_key: emptyable(text({ max: 200 })).optional(),
  metadata: metadataParam().optional(),
  nickname: emptyable(text()).optional(),
  tax_behavior: taxBehavior(),
  transfer_lookup_key: flag().optional(),
} satisfies ShapeOf<Stripe.PriceUpdateParams>)

const PATH = '/v1/prices'
const kind = prices.name

const filters = {
  active: flag().optional(),
  created: timeRange().optional(),
  currency: currency().optional(),
  lookup_keys: list(text(), { max: 10 }).optional(),
  product: text().optional(),
  recurring: group({
    interval: priceInterval().optional(),
    meter: text().optional(),
    usage_type: choice('usage_type', ['licensed', 'metered']).optional(),
  }).optional(),
  type: choice('type', ['one_time', 'recurring']).optional(),
} satisfies FiltersOf<Stripe.PriceListParams>

/** Prices cannot be deleted by the API. @see https://docs.stripe.com/api/prices */
export const priceResource: Resource = {
  kind,
  expandable: { product: { kind: 'product' } },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: priceCreateParams,
      run: createPrice,
    }),
    retrieveOperation(`${PATH}/:id`, prices, 'price'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: priceUpdateParams,
      run: updatePrice,
    }),
    searchOperation({
      path: `${PATH}/search`,
      table: prices,
      fields: {
        active: 'token',
        currency: 'token',
        lookup_key: 'string',
        product: 'string',
        type: 'token',
      },
    }),
    listOperation({
      path: PATH,
      table: prices,
      filters,
      where({ active = true, created, currency: code, product, type, ...params }, call) {
        if (product !== undefined) existing(call, products, product, 'product')
        const within = createdWithin(created)
        const keys = params.lookup_keys && new Set<string | null>(params.lookup_keys)
        return (price) =>
          price.active === active &&
          within(price) &&
          (code ?? price.currency) === price.currency &&
          (product ?? price.product) === price.product &&
          (type ?? price.type) === price.type &&
          (keys?.has(price.lookup_key) ?? true) &&
          recursAs(price, params.recurring)
      },
    }),
  ],
}

function recursAs({ recurring }: WirePrice, wanted: z.output<typeof filters.recurring>): boolean {
  if (wanted === undefined) return true
  return (
    recurring !== null &&
    (wanted.interval ?? recurring.interval) === recurring.interval &&
    (wanted.meter ?? recurring.meter) === recurring.meter &&
    (wanted.usage_type ?? recurring.usage_type) === recurring.usage_type
  )
}

function createPrice(call: Call, params: z.output<typeof priceCreateParams>): WirePrice {
  const {
    billing_scheme: scheme,
    product,
    product_data: data,
    transfer_lookup_key: transfer = false,
    ...input
  } = params
  requireTiers(scheme)
  if (product === undefined && data === undefined)
    throw invalidParameter(
      'product',
      'You must specify either `product` or `product_data` when creating a price.',
    )
  if (product !== undefined && data !== undefined)
    throw invalidParameter(
      'product',
      'You may only specify one of these parameters: product, product_data.',
    )
  if (product !== undefined) existing(call, products, product, 'product')
  checkPrice(call, input)
  const key = input.lookup_key
  if (key !== undefined) claimLookupKey(call, key, undefined, transfer)
  const owner = product ?? (data && createProduct(call, data).id) ?? ''
  const price = insertPrice(call, { ...input, product: owner })
  emitPriceEvent(call, 'created', price)
  return price
}

function updatePrice(
  call: Call,
  params: z.output<typeof priceUpdateParams>,
  { id = '' }: Readonly<Record<string, string>>,
): WirePrice {
  const before = existing(call, prices, id, 'price', 404)
  const { transfer_lookup_key: transfer = false, metadata, ...given } = params
  if (given.active === false && isDefault(call, before))
    throw refused('This price cannot be archived because it is the default price of its product.')
  if (given.tax_behavior !== undefined) checkTaxBehavior(before, given.tax_behavior)
  if (given.lookup_key) claimLookupKey(call, given.lookup_key, id, transfer)
  const after = changeRow(call, prices, id, {
    ...givenFields(given),
    metadata: changeMetadata(before.metadata, metadata),
  })
  emitPriceEvent(call, 'updated', after, before)
  return after
}

function checkTaxBehavior(price: WirePrice, wanted: string): void {
  const { tax_behavior: current } = price
  if (current === null || current === 'unspecified' || current === wanted) return
  throw invalidParameter(
    'tax_behavior',
    'You cannot change the tax_behavior of a price once it is set to inclusive or exclusive.',
  )
}

/**
 * Deletes a price or plan. The API offers this only for plans; prices are deleted in the dashboard.
 *
 * @throws StripeError while it is the default price of its product.
 */
export function deletePrice(scope: Scope, price: WirePrice): void {
  if (isDefault(scope, price))
    throw refused('This price cannot be deleted because it is the default price of its product.')
  scope.account.rows(prices).remove(price.id)
  emitPriceEvent(scope, 'deleted', price)
}

/** Whether it is the default price of its product; a default price must stay active. */
function isDefault({ account }: Scope, price: WirePrice): boolean {
  return idOf(account.rows(products).get(price.product)?.default_price) === price.id
}

import type Stripe from 'stripe'
import type { z } from 'zod'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { choice, currency, flag, group, list, text, timeRange } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { givenFields } from '../core/given-fields.ts'
import { invalidParameter, refused } from '../core/stripe-error.ts'
import { prices, type WirePrice } from '../objects/price.ts'
import { products } from '../objects/product.ts'
import { claimLookupKey } from '../pricing/claim-lookup-key.ts'
import { createProduct } from '../pricing/create-product.ts'
import { isDefault } from '../pricing/delete-price.ts'
import { checkPrice, insertPrice } from '../pricing/insert-price.ts'
import { emitPriceEvent } from '../pricing/price-event.ts'
import { requireTiers } from '../pricing/require-tiers.ts'
import { priceCreateParams, priceUpdateParams } from './price-params.ts'
import { priceInterval } from './product-params.ts'

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

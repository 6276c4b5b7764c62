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
  fraction,
  group,
  ignored,
  integer,
  list,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
  url,
} from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { changeRow, emitEvent, givenFields } from '../core/changes.ts'
import { alreadyExists, invalidParameter, refused } from '../core/errors.ts'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { checkPrice, emitPriceEvent, insertPrice, prices } from './price.ts'

export const products = defineTable<Stripe.Product>('product')

export type ProductFields = Partial<Omit<Stripe.Product, 'object' | 'livemode'>>

/** Stores a new product, without an event. @throws StripeError when the id is in use. */
function insertProduct(scope: Scope, fields: ProductFields): Stripe.Product {
  const { account } = scope
  if (fields.id !== undefined && account.rows(products).get(fields.id) !== undefined)
    throw alreadyExists('Product')
  return account.rows(products).insert(buildProduct(scope, fields))
}

/** Builds a product. */
export function buildProduct({ account, world }: Scope, fields: ProductFields): Stripe.Product {
  const created = fields.created ?? world.clock.seconds()
  return {
    id: fakeId('prod_', 14),
    object: 'product',
    active: true,
    created,
    default_price: null,
    description: null,
    images: [],
    livemode: account.livemode,
    marketing_features: [],
    metadata: {},
    name: '',
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    tax_details: null,
    type: 'service',
    unit_label: null,
    updated: created,
    url: null,
    ...fields,
  }
}

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
const productCreateParams = group({
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

const productUpdateParams = group({
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

type ProductCreateInput = z.output<typeof productCreateParams>
type ProductUpdateInput = z.output<typeof productUpdateParams>

/** A product that is created together with its price or plan. */
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

const PATH = '/v1/products'
const kind = products.name

const filters = {
  active: flag().optional(),
  created: timeRange().optional(),
  ids: list(text()).optional(),
  shippable: flag().optional(),
  type: choice('type', ['good', 'service']).optional(),
  url: text().optional(),
} satisfies FiltersOf<Stripe.ProductListParams>

/** @see https://docs.stripe.com/api/products */
export const productResource: Resource = {
  kind,
  expandable: { default_price: { kind: 'price' } },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: productCreateParams,
      run: createProduct,
    }),
    retrieveOperation(`${PATH}/:id`, products),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: productUpdateParams,
      run(call, params, { id = '' }) {
        const before = existing(call, products, id, 'id', 404)
        const after = changeRow(call, products, id, changes(call, before, params))
        emitEvent(call, 'product.updated', after, before)
        return after
      },
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run: (call, _params, { id = '' }) => deleteProduct(call, id),
    }),
    searchOperation({
      path: `${PATH}/search`,
      table: products,
      fields: {
        active: 'token',
        description: 'string',
        name: 'string',
        shippable: 'token',
        url: 'string',
      },
    }),
    listOperation({
      path: PATH,
      table: products,
      filters,
      where({ active, created, ids, shippable, type, url }) {
        const within = createdWithin(created)
        const wanted = ids && new Set(ids)
        return (product) =>
          within(product) &&
          (active ?? product.active) === product.active &&
          (wanted?.has(product.id) ?? true) &&
          (shippable === undefined || shippable === (product.shippable ?? false)) &&
          (type ?? product.type) === product.type &&
          (url ?? product.url) === product.url
      },
    }),
  ],
}

function deleteProduct(call: Call, id: string): Stripe.DeletedProduct {
  const product = existing(call, products, id, 'id', 404)
  const priced = call.account
    .rows(prices)
    .page({ limit: 1, where: (price) => price.product === id })
  if (priced?.data.length !== 0)
    throw refused('This product cannot be deleted because it has one or more user-created prices.')
  call.account.rows(products).remove(id)
  emitEvent(call, 'product.deleted', { ...product, active: false })
  return { id, object: 'product', deleted: true }
}

function changes(
  call: Call,
  before: Stripe.Product,
  params: ProductUpdateInput,
): Partial<Stripe.Product> {
  const { images, marketing_features: features, metadata, tax_details: _, ...given } = params
  if (given.default_price !== undefined) checkDefaultPrice(call, before.id, given.default_price)
  return {
    ...givenFields(given),
    ...(images === undefined ? {} : { images: images ?? [] }),
    ...(features === undefined ? {} : { marketing_features: features ?? [] }),
    metadata: changeMetadata(before.metadata, metadata),
    updated: call.world.clock.seconds(),
  }
}

function checkDefaultPrice(call: Call, product: string, id: string): void {
  const price = existing(call, prices, id, 'default_price')
  if (price.product !== product)
    throw invalidParameter(
      'default_price',
      `The price \`${id}\` does not belong to the product \`${product}\`.`,
    )
  if (!price.active)
    throw invalidParameter('default_price', 'The default price of a product must be active.')
}

/**
 * Creates a product and, when it is given, its default price; also for products that are created
 * together with a price or plan.
 *
 * @throws StripeError when the id is in use or the price is invalid.
 */
export function createProduct(scope: Scope, input: ProductCreateInput): Stripe.Product {
  const { default_price_data: priceData, metadata, tax_details: _, ...given } = input
  if (priceData !== undefined) checkPrice(scope, priceData, 'default_price_data')
  const product = insertProduct(scope, {
    ...givenFields(given),
    metadata: changeMetadata({}, metadata),
  })
  if (priceData === undefined) {
    emitEvent(scope, 'product.created', product)
    return product
  }
  const price = insertPrice(scope, { ...priceData, product: product.id })
  const priced = scope.account.rows(products).replace({ ...product, default_price: price.id })
  // Stripe sends the event of the product first; it already contains the default price.
  emitEvent(scope, 'product.created', priced)
  emitPriceEvent(scope, 'created', price)
  return priced
}

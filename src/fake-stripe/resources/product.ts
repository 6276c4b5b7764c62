import type Stripe from 'stripe'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { choice, flag, group, list, text, timeRange } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { invalidParameter, refused } from '../core/stripe-error.ts'
import { prices } from '../objects/price.ts'
import { products } from '../objects/product.ts'
import { createProduct } from '../pricing/create-product.ts'
import {
  type ProductUpdateInput,
  productCreateParams,
  productUpdateParams,
} from './product-params.ts'

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

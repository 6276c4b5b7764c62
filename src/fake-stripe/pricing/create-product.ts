import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import type { Scope } from '../core/scope.ts'
import { insertProduct, products } from '../objects/product.ts'
import type { ProductCreateInput } from '../resources/product-params.ts'
import { checkPrice, insertPrice } from './insert-price.ts'
import { emitPriceEvent } from './price-event.ts'

/**
 * A new product and, when its default price is given too, that price. Also for products that are
 * made together with a price or plan.
 *
 * @throws StripeError when the id is taken or the price breaks a rule.
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
  // Stripe sends the product first, its default price already set.
  emitEvent(scope, 'product.created', priced)
  emitPriceEvent(scope, 'created', price)
  return priced
}

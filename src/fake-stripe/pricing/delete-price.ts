import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { refused } from '../core/stripe-error.ts'
import { prices, type WirePrice } from '../objects/price.ts'
import { products } from '../objects/product.ts'
import { emitPriceEvent } from './price-event.ts'

/**
 * Removes a price or plan for good. The API does that for plans only; prices go in the dashboard.
 *
 * @throws StripeError while it is the default price of its product.
 */
export function deletePrice(scope: Scope, price: WirePrice): void {
  if (isDefault(scope, price))
    throw refused('This price cannot be deleted because it is the default price of its product.')
  scope.account.rows(prices).remove(price.id)
  emitPriceEvent(scope, 'deleted', price)
}

/** Whether the price's product names it as its default; such a price must stay active too. */
export function isDefault({ account }: Scope, price: WirePrice): boolean {
  return idOf(account.rows(products).get(price.product)?.default_price) === price.id
}

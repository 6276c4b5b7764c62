import { requireRow } from '../core/require-row.ts'
import type { World } from '../core/world.ts'
import { prices } from '../objects/price.ts'
import { deletePrice } from '../pricing/delete-price.ts'
import { ownerOf } from './find-object.ts'

/** What the merchant's staff do to the catalogue in Stripe's dashboard. */
export type CatalogControl = {
  /**
   * Deletes a price, which the API cannot; sends `price.deleted`, for a recurring one
   * `plan.deleted` too.
   *
   * @throws NotPossible when there is none.
   * @throws StripeError while it is the default price of its product.
   */
  deletePrice(price: string): void
}

export function catalogControl(world: World): CatalogControl {
  return {
    deletePrice(id) {
      const { scope } = ownerOf(world, id)
      deletePrice(scope, requireRow(scope, prices, id))
    },
  }
}

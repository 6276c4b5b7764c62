import { setTimeout as sleep } from 'node:timers/promises'
import { purchaseSchema } from '../../../purchases/purchase-schemas.ts'
import type { PurchaseBody } from '../../../purchases/purchase-view.ts'
import type { Scene, Shop } from './scene.ts'

const EVERY_MS = 40
// Many times what it takes on a busy machine with two cores; past it, it will not come.
const PATIENCE_MS = 15_000

/**
 * Looks at a purchase, as a page that waits for its payment does, until it is as wanted.
 *
 * @returns the purchase as last seen, wanted or not: the checks that follow tell which.
 */
export async function watchPurchase(
  { api, signal }: Scene,
  shop: Shop,
  id: string,
  isWanted: (purchase: PurchaseBody) => boolean,
): Promise<PurchaseBody> {
  const until = performance.now() + PATIENCE_MS
  for (;;) {
    const purchase = await api.look({
      method: 'GET',
      path: `${shop.path}/purchases/${id}`,
      as: shop.sponsorKey,
      expect: 200,
      schema: purchaseSchema,
    })
    if (isWanted(purchase) || performance.now() > until) return purchase
    await sleep(EVERY_MS, undefined, { signal })
  }
}

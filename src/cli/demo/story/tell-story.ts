import { openShop } from './open-shop.ts'
import { orderVouchers } from './order-vouchers.ts'
import { payOrder } from './pay-order.ts'
import { receiveCodes } from './receive-codes.ts'
import { redeemCode } from './redeem-code.ts'
import { refundAll } from './refund-all.ts'
import { refundSome } from './refund-some.ts'
import type { Scene, Shop } from './scene.ts'
import { tellHistory } from './tell-history.ts'

/**
 * The whole story, each step checked.
 *
 * @returns the shop, to go on by hand.
 * @throws Mismatch at the first step that shows something else than it should.
 */
export async function tellStory(scene: Scene): Promise<Shop> {
  const shop = await openShop(scene)
  const order = await orderVouchers(scene, shop)
  await payOrder(scene, order)
  const seen = new Set<string>()
  const bought = await receiveCodes(scene, shop, order, seen)
  await redeemCode(scene, shop, bought.codes[0] ?? '')
  await refundSome(scene, shop, bought, seen)
  await refundAll(scene, shop, bought, seen)
  await tellHistory(scene, shop, bought)
  return shop
}

import { purchaseSchema } from '../../../purchases/purchase-schemas.ts'
import { formatMoney } from '../../../shared/money.ts'
import { refusal } from './redeem-code.ts'
import { type Bought, CURRENCY, PRICE, QUANTITY, type Scene, type Shop } from './scene.ts'
import { showWebhooks } from './show-webhooks.ts'
import { watchPurchase } from './watch-purchase.ts'

/** Staff pays everything back; every code is dead. */
export async function refundAll(
  scene: Scene,
  shop: Shop,
  { purchase, codes }: Bought,
  seen: Set<string>,
): Promise<void> {
  const { api, narrator } = scene
  narrator.chapter('Acme cancels: a full refund')
  const total = QUANTITY * PRICE
  const path = `${shop.path}/purchases/${purchase.id}/refund`
  const refund = { method: 'POST', path, as: shop.staffKey, body: {} } as const
  await api.call({ ...refund, expect: 200, schema: purchaseSchema })
  const now = await watchPurchase(scene, shop, purchase.id, ({ status }) => status === 'REFUNDED')
  await showWebhooks(scene, shop, seen)
  narrator.check('status', now.status, 'REFUNDED')
  narrator.check('paid back', now.amount_refunded, total, formatMoney(total, CURRENCY))
  narrator.check('codes still on', now.vouchers.active, 0, 'none')
  narrator.check('codes turned off', now.vouchers.deactivated, QUANTITY)
  const code = codes[1] ?? ''
  const dead = await api.call({
    method: 'POST',
    path: `${shop.path}/vouchers/${code}/redemptions`,
    as: shop.staffKey,
    body: { reference: 'order-1003' },
    expect: 409,
    schema: refusal,
  })
  narrator.check('redeeming one: refused', dead.invalid_reason, 'deactivated')
}

import { purchaseSchema } from '../../../purchases/purchase-schemas.ts'
import { formatMoney } from '../../../shared/money.ts'
import { voucherPage } from '../../../vouchers/voucher-schemas.ts'
import {
  type Bought,
  CURRENCY,
  PAID_BACK,
  PRICE,
  QUANTITY,
  type Scene,
  type Shop,
} from './scene.ts'
import { showWebhooks } from './show-webhooks.ts'
import { watchPurchase } from './watch-purchase.ts'

/** Staff pays some codes back; as many that nobody used go off, and the used one stays. */
export async function refundSome(
  scene: Scene,
  shop: Shop,
  { purchase, codes }: Bought,
  seen: Set<string>,
): Promise<void> {
  const { api, narrator } = scene
  narrator.chapter(`${PAID_BACK} vouchers too many: a partial refund`)
  const amount = PAID_BACK * PRICE
  const path = `${shop.path}/purchases/${purchase.id}`
  const as = shop.staffKey
  const refund = { method: 'POST', path: `${path}/refund`, as, body: { amount } } as const
  await api.call({ ...refund, expect: 200, schema: purchaseSchema })
  const now = await watchPurchase(
    scene,
    shop,
    purchase.id,
    ({ amount_refunded, vouchers }) =>
      amount_refunded === amount && vouchers.deactivated === PAID_BACK,
  )
  await showWebhooks(scene, shop, seen)
  narrator.check('status', now.status, 'PAID')
  narrator.check('paid back', now.amount_refunded, amount, formatMoney(amount, CURRENCY))
  narrator.check('codes turned off', now.vouchers.deactivated, PAID_BACK)
  narrator.check('codes still good', now.vouchers.remaining, QUANTITY - PAID_BACK - 1)
  const query = { method: 'GET', path: `${path}/vouchers?limit=100`, as, expect: 200 } as const
  const page = await api.look({ ...query, schema: voucherPage })
  const used = page.data.find(({ code }) => code === codes[0])
  narrator.check('the redeemed code', used?.state, 'active', 'untouched')
}

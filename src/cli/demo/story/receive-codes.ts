import { voucherPage } from '../../../vouchers/voucher-schemas.ts'
import type { Order } from './order-vouchers.ts'
import { type Bought, QUANTITY, type Scene, type Shop } from './scene.ts'
import { showMail } from './show-mail.ts'
import { showWebhooks } from './show-webhooks.ts'
import { watchPurchase } from './watch-purchase.ts'

// Money and codes are fake here; elsewhere a code is worth a ticket and is never shown.
const SHOWN = 2

/** The webhooks come in, the purchase is paid, the codes are there. */
export async function receiveCodes(
  scene: Scene,
  shop: Shop,
  order: Order,
  seen: Set<string>,
): Promise<Bought> {
  const { api, narrator } = scene
  narrator.chapter('Stripe tells, the codes appear')
  const purchase = await watchPurchase(
    scene,
    shop,
    order.purchase,
    ({ status }) => status === 'PAID',
  )
  await showWebhooks(scene, shop, seen)
  narrator.check('status', purchase.status, 'PAID')
  const page = await api.call({
    method: 'GET',
    path: `${shop.path}/purchases/${order.purchase}/vouchers?limit=100`,
    as: shop.sponsorKey,
    expect: 200,
    schema: voucherPage,
  })
  const codes = page.data.map(({ code }) => code)
  narrator.check('different codes', new Set(codes).size, QUANTITY)
  narrator.check('of them valid', page.data.filter(({ valid }) => valid).length, QUANTITY)
  for (const code of codes.slice(0, SHOWN)) narrator.note(code)
  narrator.note(`${masked(codes[SHOWN] ?? '')}  and ${QUANTITY - SHOWN - 1} more`)
  await showMail(scene, purchase.id, `Your ${QUANTITY} voucher codes for DevConf are ready`)
  return { purchase, codes }
}

const masked = (code: string) => code.replace(/[^-]+$/, (secret) => '•'.repeat(secret.length))

import { checkoutAnswer, purchaseSchema } from '../../../purchases/purchase-schemas.ts'
import { formatMoney } from '../../../shared/money.ts'
import { Mismatch } from '../mismatch.ts'
import { shortIds } from '../short-ids.ts'
import { CURRENCY, PRICE, QUANTITY, type Scene, type Shop } from './scene.ts'

export type Order = { purchase: string; session: string; url: string }

/** The sponsor orders and is given the address of the payment page. */
export async function orderVouchers(
  { api, narrator, ...scene }: Scene,
  shop: Shop,
): Promise<Order> {
  narrator.chapter(`Acme orders ${QUANTITY} vouchers`)
  const total = QUANTITY * PRICE
  const as = shop.sponsorKey
  const purchase = await api.call({
    method: 'POST',
    path: `${shop.path}/purchases`,
    as,
    body: { ticket_type: shop.ticketType, quantity: QUANTITY, reference: 'PO-2027-118' },
    expect: 201,
    schema: purchaseSchema,
  })
  narrator.check('status', purchase.status, 'PENDING')
  narrator.check('total', purchase.total_amount, total, formatMoney(total, CURRENCY))

  const backTo = `${scene.serviceUrl}/docs`
  const path = `${shop.path}/purchases/${purchase.id}`
  const { url, session_id: session } = await api.call({
    method: 'POST',
    path: `${path}/checkout`,
    as,
    body: { success_url: `${backTo}?paid={CHECKOUT_SESSION_ID}`, cancel_url: backTo },
    expect: 200,
    schema: checkoutAnswer,
  })
  if (url === null) throw new Mismatch('the checkout', 'the address of a payment page', url)
  const look = { method: 'GET', path, as, expect: 200, schema: purchaseSchema } as const
  narrator.check('status', (await api.look(look)).status, 'PROCESSING')
  narrator.check('payment page at', new URL(url).origin, scene.stripe.url, shortIds(url))
  return { purchase: purchase.id, session, url }
}

import { formatMoney } from '../../../shared/money.ts'
import { payInBrowser } from '../payer.ts'
import { shortIds } from '../short-ids.ts'
import type { Order } from './order-vouchers.ts'
import { CURRENCY, PRICE, QUANTITY, type Scene } from './scene.ts'

/** The payer fills in Stripe's page; the service hears nothing of it yet but by webhook. */
export async function payOrder(
  { narrator, signal, serviceUrl }: Scene,
  order: Order,
): Promise<void> {
  narrator.chapter("Acme pays on Stripe's page, as a browser would")
  const paid = await payInBrowser(order.url, narrator, signal)
  const digits = (text: string) => text.replace(/[^0-9]/g, '')
  const total = formatMoney(QUANTITY * PRICE, CURRENCY)
  const button = /<button class="main"[^>]*>([^<]*)</.exec(paid.page)?.[1] ?? ''
  narrator.check('the page asks for', digits(button), digits(total), total)
  const back = `${serviceUrl}/docs?paid=${order.session}`
  narrator.check('and returns to', paid.returnedTo, back, shortIds(back))
}

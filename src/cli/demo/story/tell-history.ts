import { transitionPage } from '../../../purchases/purchase-schemas.ts'
import type { Bought, Scene, Shop } from './scene.ts'

const EXPECTED = [
  'PENDING → PROCESSING  CHECKOUT_OPENED',
  'PROCESSING → PAID  PAYMENT_SUCCEEDED',
  'PAID → PAID  PARTIALLY_REFUNDED',
  'PAID → REFUNDED  REFUNDED',
]

/** The purchase's own account of what happened: each step once, however often Stripe told of it. */
export async function tellHistory(
  { api, narrator }: Scene,
  shop: Shop,
  { purchase }: Bought,
): Promise<void> {
  narrator.chapter('What the purchase remembers')
  const { data } = await api.call({
    method: 'GET',
    path: `${shop.path}/purchases/${purchase.id}/transitions`,
    as: shop.staffKey,
    expect: 200,
    schema: transitionPage,
  })
  const steps = data.toReversed()
  for (const { created_at, event, from, to, actor } of steps) {
    const move = `${from} → ${to}`
    narrator.note(`${created_at.slice(11, 23)}  ${move.padEnd(22)}${event.padEnd(20)}${actor.kind}`)
  }
  const told = steps.map(({ event, from, to }) => `${from} → ${to}  ${event}`)
  narrator.check('every step, and each once', told, EXPECTED, `${told.length} steps`)
}

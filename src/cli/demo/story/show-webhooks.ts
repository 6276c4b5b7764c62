import { Mismatch } from '../mismatch.ts'
import type { Scene, Shop } from './scene.ts'

/**
 * Waits until Stripe has nothing more to say, shows the events that it sent since the last look and
 * checks that each was acknowledged.
 *
 * @param seen ids of the deliveries that were shown already; the new ones are added.
 */
export async function showWebhooks(
  { narrator, stripe: { control } }: Scene,
  { account }: Shop,
  seen: Set<string>,
): Promise<void> {
  await control.waitForDeliveries({ timeoutMs: 15_000 })
  const fresh = control.deliveries({ account }).filter(({ id }) => !seen.has(id))
  for (const { id, type, attempts } of fresh) {
    seen.add(id)
    const last = attempts.at(-1)
    const told = { what: `webhook ${type}`, status: last?.status ?? 0, ms: last?.ms ?? null }
    narrator.request({ direction: '←', ...told })
  }
  if (fresh.length === 0) throw new Mismatch('webhooks', 'at least one', 'none')
  const taken = fresh.filter(({ state }) => state === 'delivered')
  narrator.check('webhooks acknowledged', taken.length, fresh.length)
}

import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { purchaseSchema } from '../src/purchases/purchase-schemas.ts'
import type { PurchaseBody } from '../src/purchases/purchase-view.ts'
import { Mismatch } from './narrator.ts'
import type { Shop, StoryContext } from './story-context.ts'

const POLL_MS = 40
// Many times the usual duration on a busy machine with two cores.
const TIMEOUT_MS = 15_000

/**
 * Polls a purchase until it has the wanted state or the time is over.
 *
 * @returns the purchase of the last poll; the checks that follow verify it.
 */
export async function watchPurchase(
  { api, signal }: StoryContext,
  shop: Shop,
  id: string,
  isWanted: (purchase: PurchaseBody) => boolean,
): Promise<PurchaseBody> {
  const until = performance.now() + TIMEOUT_MS
  for (;;) {
    const purchase = await api.look({
      method: 'GET',
      path: `${shop.path}/purchases/${id}`,
      as: shop.sponsorKey,
      expect: 200,
      schema: purchaseSchema,
    })
    if (isWanted(purchase) || performance.now() > until) return purchase
    await sleep(POLL_MS, undefined, { signal })
  }
}

/**
 * Waits until the fake Stripe has delivered all events, prints the new ones and checks that each was
 * acknowledged.
 *
 * @param seen ids of deliveries that were printed before; the new ids are added.
 */
export async function showWebhooks(
  { narrator, stripe: { control } }: StoryContext,
  { account }: Shop,
  seen: Set<string>,
): Promise<void> {
  await control.waitForDeliveries({ timeoutMs: 15_000 })
  const fresh = control.deliveries({ account }).filter(({ id }) => !seen.has(id))
  for (const { id, type, attempts } of fresh) {
    seen.add(id)
    const last = attempts.at(-1)
    const line = { what: `webhook ${type}`, status: last?.status ?? 0, ms: last?.ms ?? null }
    narrator.request({ direction: '←', ...line })
  }
  if (fresh.length === 0) throw new Mismatch('webhooks', 'at least one', 'none')
  const taken = fresh.filter(({ state }) => state === 'delivered')
  narrator.check('webhooks acknowledged', taken.length, fresh.length)
}

/** Waits until the receiver of the conference has got events of these types, with a valid signature. */
export async function showOutbound(
  { narrator, signal }: StoryContext,
  received: readonly string[],
  types: readonly string[],
): Promise<void> {
  const until = performance.now() + TIMEOUT_MS
  const arrived = () => types.filter((type) => received.includes(type))
  while (arrived().length < types.length && performance.now() < until) {
    await sleep(POLL_MS, undefined, { signal })
  }
  narrator.check('its webhooks, verified', arrived(), types, types.join(', '))
}

/** Waits for the mail about a purchase with this subject, and prints its file. */
export async function showMail(
  { narrator, mailFolder, signal }: StoryContext,
  purchase: string,
  subject: string,
): Promise<void> {
  const until = performance.now() + TIMEOUT_MS
  let file = await findMail(mailFolder, purchase, subject)
  while (file === undefined && performance.now() < until) {
    await sleep(POLL_MS, undefined, { signal })
    file = await findMail(mailFolder, purchase, subject)
  }
  narrator.check('a mail to the sponsor', file === undefined ? null : subject, subject)
  narrator.note(relative(process.cwd(), file ?? ''))
}

async function findMail(
  folder: string,
  purchase: string,
  subject: string,
): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names.filter((name) => name.endsWith('.eml'))) {
    const text = await readFile(join(folder, name), 'utf8')
    if (text.includes(`Subject: ${subject}\r\n`) && text.includes(purchase)) {
      return join(folder, name)
    }
  }
  return undefined
}

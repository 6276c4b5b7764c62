import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FakeStripe } from 'fake-stripe/source'
import { vi } from 'vitest'
import { atEnd } from '../../cluster/support/at-end.ts'
import type { ServiceProcess } from '../../support/service-process.ts'
import { openShop, type PurchaseAnswer, RETURN_URLS, type Shop } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'

/** What the service has acknowledged with a 2xx. It must never be lost. */
type Acknowledged = {
  purchases: string[]
  /** Codes that a sponsor has read. */
  codes: string[]
  /** References of redemptions. */
  redemptions: string[]
}

export type Load = {
  shop: Shop
  acknowledged: Acknowledged
  /** Requests that the service refused clearly: 503 with a problem document and `Retry-After`. */
  refused(): number
  /** Other failures, none of which may happen. */
  unclear: string[]
  /** Resolves when so many more codes were redeemed. */
  untilRedeemed(count: number): Promise<void>
  /** Ends the load. Resolves when every request is answered and every webhook delivered. */
  stop(): Promise<void>
}

const QUANTITY = 3
const BUYERS = 4

/**
 * Sponsors that order, pay and read their codes, of which one is redeemed. They do what the problem document says:
 * they repeat a refused request with the same Idempotency-Key.
 */
export async function startLoad(service: ServiceProcess, stripe: FakeStripe): Promise<Load> {
  const shop = await openShop(service)
  const { secret } = stripe.control.addWebhookEndpoint({
    account: shop.stripeKey,
    url: `${service.url}/webhooks/stripe/${shop.path.split('/').at(-1)}`,
  })
  await service.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
  const acknowledged: Acknowledged = { purchases: [], codes: [], redemptions: [] }
  const unclear: string[] = []
  let refused = 0
  let stopped = false

  /** Repeats a request until it is answered with 2xx. */
  async function persist<T>(method: string, path: string, body?: Body): Promise<T> {
    const headers = method === 'POST' ? { 'idempotency-key': randomUUID() } : {}
    const sent = { headers, ...(body === undefined ? {} : { body }) }
    for (;;) {
      const answer = await service
        .request<T & { code?: string }>(method, `${shop.path}${path}`, sent)
        .catch((error: unknown) => String(error))
      if (typeof answer === 'string') unclear.push(`${method} ${path}: ${answer}`)
      else if (answer.status < 300) return answer.body
      else if (isClear(answer)) refused += 1
      else if (answer.body.code !== 'idempotency_in_progress') {
        unclear.push(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
      }
      if (unclear.length > 20) throw new Error('Too many failures')
      await sleep(200)
    }
  }

  async function buyAndRedeem(): Promise<void> {
    const order = { ticket_type: shop.ticketType, quantity: QUANTITY, sponsor: shop.sponsor }
    const { id } = await persist<PurchaseAnswer>('POST', '/purchases', order)
    acknowledged.purchases.push(id)
    const page = await persist<{ session_id: string }>(
      'POST',
      `/purchases/${id}/checkout`,
      RETURN_URLS,
    )
    stripe.control.pay(page.session_id)
    let codes: { code: string }[] = []
    while (codes.length < QUANTITY) {
      const answer = await persist<{ data: { code: string }[] }>('GET', `/purchases/${id}/vouchers`)
      codes = answer.data
      if (codes.length < QUANTITY) await sleep(50)
    }
    acknowledged.codes.push(...codes.map(({ code }) => code))
    const reference = `seat-${id}`
    await persist('POST', `/vouchers/${codes[0]?.code}/redemptions`, { reference })
    acknowledged.redemptions.push(reference)
  }

  async function buyUntilStopped(): Promise<void> {
    while (!stopped) await buyAndRedeem()
  }

  const running = Promise.all(Array.from({ length: BUYERS }, buyUntilStopped))
  // Who waits for them sees it.
  running.catch(() => {})
  atEnd(async () => {
    stopped = true
  })
  return {
    shop,
    acknowledged,
    refused: () => refused,
    unclear,
    async untilRedeemed(count) {
      const from = acknowledged.redemptions.length
      const enough = vi.waitUntil(() => acknowledged.redemptions.length >= from + count, {
        ...POLL_OPTIONS,
        timeout: 120_000,
      })
      await Promise.race([enough, running])
      await enough
    },
    async stop() {
      stopped = true
      await running
      await stripe.control.waitForDeliveries({ timeoutMs: POLL_OPTIONS.timeout })
    },
  }
}

type Refusal = { status: number; headers: Record<string, unknown> }

const isClear = ({ status, headers }: Refusal) =>
  status === 503 &&
  headers['retry-after'] !== undefined &&
  String(headers['content-type']).startsWith('application/problem+json')

/** Runs a statement as an administrator. */
type Query = (sql: string, parameters: unknown[]) => Promise<{ found: number }[]>

export type Counts = { acknowledged: number; found: number }

/** How much of what was acknowledged the database has. */
export async function countKept(
  query: Query,
  { acknowledged, shop }: Load,
  stripe: FakeStripe,
): Promise<Record<'events' | 'purchases' | 'codes' | 'redemptions', Counts>> {
  const events = stripe.control
    .deliveries()
    .flatMap(({ event, state }) => (state === 'delivered' ? [event] : []))
  const count = async (table: string, column: string, values: readonly string[]) => {
    const [row] = await query(
      `select count(*)::int as found from ${table} where conference_id = $1 and ${column} = any($2)`,
      [shop.conference, values],
    )
    return { acknowledged: values.length, found: row?.found ?? 0 }
  }
  return {
    events: await count('stripe_events', 'id', events),
    purchases: await count('bulk_purchases', 'id', acknowledged.purchases),
    codes: await count('vouchers', 'code', acknowledged.codes),
    redemptions: await count('redemptions', 'reference', acknowledged.redemptions),
  }
}

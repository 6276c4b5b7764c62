import { randomUUID } from 'node:crypto'
import type { FakeStripe } from 'fake-stripe/source'
import { expect, vi } from 'vitest'
import { openShop, type PurchaseAnswer, RETURN_URLS, type Shop } from '../../support/shop.ts'
import {
  type Answer,
  type Body,
  OPERATOR_KEY,
  type RequestOptions,
} from '../../support/test-app.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'

/** A request that got no answer, or the answer that the service cannot serve it. */
export type Failure = {
  what: string
  /** It changes nothing or has an Idempotency-Key, so a load balancer may send it to another process. */
  isRepeatable: boolean
  answer: string
}

export type Buyers = {
  shop: Shop
  failures(): Failure[]
  /** Purchases whose codes a sponsor has read. */
  bought(): PurchaseAnswer[]
  /** The number of sponsors that wait for the answer to such a request now. */
  waitingFor(what: string): number
  /** Resolves when so many more purchases were paid and their codes read. */
  untilBought(count: number): Promise<void>
  /** Ends the load. Resolves when every request is answered and every webhook delivered. */
  stop(): Promise<void>
}

const QUANTITY = 3

/** Several processes share two cores with everything else. */
const MANY_PURCHASES_POLL = { ...POLL_OPTIONS, timeout: 240_000 }

/** As the portal, and the load is orders, not look-ups. */
const PAID_POLL = { ...POLL_OPTIONS, interval: 250 }

/**
 * Sponsors that buy one purchase after the other at the address of a load balancer: order, checkout, payment at
 * Stripe, which sends its events to the same address, and the codes. Every second one sends Idempotency-Keys.
 */
export async function startBuyers(options: {
  url: string
  stripe: FakeStripe
  count: number
}): Promise<Buyers> {
  const { url, stripe, count } = options
  const failures: Failure[] = []
  const unanswered: string[] = []
  const bought: PurchaseAnswer[] = []
  let stopped = false

  async function request<T = Body>(
    method: string,
    path: string,
    { as = OPERATOR_KEY, body, headers = {} }: RequestOptions = {},
  ): Promise<Answer<T>> {
    const isRepeatable = method === 'GET' || 'idempotency-key' in headers
    const fail = (answer: string) =>
      failures.push({ what: `${method} ${path}`, isRepeatable, answer })
    unanswered.push(path)
    try {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${as}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      const { status } = response
      if (status >= 400) fail(`${status} ${text}`)
      const isJson = response.headers.get('content-type')?.includes('json')
      // The caller says what it expects.
      return { status, body: (isJson ? JSON.parse(text) : null) as T, headers: {} }
    } catch (error) {
      fail(String(error))
      throw error
    } finally {
      unanswered.splice(unanswered.indexOf(path), 1)
    }
  }

  const shop = await openShop({ request })
  const { secret } = stripe.control.addWebhookEndpoint({
    account: shop.stripeKey,
    url: `${url}/webhooks/stripe/${shop.path.split('/').at(-1)}`,
  })
  await request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })

  async function post<T>(path: string, body: Body, hasKey: boolean): Promise<T | null> {
    const headers: Record<string, string> = hasKey ? { 'idempotency-key': randomUUID() } : {}
    const sent = { as: shop.sponsorKey, body, headers }
    const answer = await request<T>('POST', `${shop.path}${path}`, sent).catch(() => null)
    return answer !== null && answer.status < 400 ? answer.body : null
  }

  async function get<T>(path: string): Promise<T | null> {
    const sent = { as: shop.sponsorKey }
    const answer = await request<T>('GET', `${shop.path}${path}`, sent).catch(() => null)
    return answer?.status === 200 ? answer.body : null
  }

  /** Goes on to the next purchase when a request fails. */
  async function buy(hasKey: boolean): Promise<void> {
    const order = { ticket_type: shop.ticketType, quantity: QUANTITY }
    const made = await post<PurchaseAnswer>('/purchases', order, hasKey)
    if (made === null) return
    const path = `/purchases/${made.id}`
    const page = await post<{ session_id: string }>(`${path}/checkout`, RETURN_URLS, hasKey)
    if (page === null) return
    stripe.control.pay(page.session_id)
    const paid = await vi.waitFor(async () => {
      const found = await get<PurchaseAnswer>(path)
      expect(found?.status).toBe('PAID')
      return found
    }, PAID_POLL)
    const codes = await get<{ data: unknown[] }>(`${path}/vouchers`)
    if (paid !== null && codes?.data.length === QUANTITY) bought.push(paid)
  }

  async function buyUntilStopped(index: number): Promise<void> {
    while (!stopped) await buy(index % 2 === 0)
  }

  const running = Promise.all(Array.from({ length: count }, (_, index) => buyUntilStopped(index)))
  // A test that waits for them sees it.
  running.catch(() => {})
  const stop = async () => {
    stopped = true
    await running
    await stripe.control.waitForDeliveries({ timeoutMs: POLL_OPTIONS.timeout })
  }
  return {
    shop,
    failures: () => failures,
    bought: () => bought,
    waitingFor: (what) => unanswered.filter((path) => path.endsWith(what)).length,
    async untilBought(more) {
      const from = bought.length
      const enough = vi.waitUntil(() => bought.length >= from + more, MANY_PURCHASES_POLL)
      await Promise.race([enough, running])
      await enough
    },
    stop,
  }
}

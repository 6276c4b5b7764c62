import type Stripe from 'stripe'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../src/shared/logger.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import {
  buildStripe,
  createCountingHttpClient,
  createInteractiveHttpClient,
  createThrottledHttpClient,
} from '../../src/stripe/stripe-client.ts'
import { toAppError } from '../../src/stripe/stripe-errors.ts'
import type { StripeRateLimiter } from '../../src/stripe/stripe-rate-limiter.ts'
import { rateLimitWaitOf } from '../../src/stripe/wait-for-rate-limit.ts'
import { useFakeStripe } from '../support/shop.ts'
import { newAccount, useRateLimiters } from './use-rate-limiters.ts'

const limiters = useRateLimiters()
const stripe = useFakeStripe()

type Setting = {
  limiter: StripeRateLimiter
  account?: string
  signal?: AbortSignal
  maxWaitSeconds?: number
}

const ONCE = { maxNetworkRetries: 0 }

/** A background and an interactive client on a Stripe account of their own. */
function clientsOf({
  limiter,
  account: accountKey = newAccount(),
  signal,
  maxWaitSeconds,
}: Setting) {
  const log: string[] = []
  const logger = createLogger('trace', { write: (line) => void log.push(line) })
  const inner = createCountingHttpClient(noMetrics)
  const { secretKey, id: account } = stripe.fake.control.createAccount()
  const settings = { stripeApiBase: stripe.fake.url, stripeTimeoutSeconds: 20 }
  const options = { inner, rateLimiter: limiter, accountKey, logger }
  const throttled = createThrottledHttpClient({
    ...options,
    ...(signal === undefined ? {} : { signal }),
    ...(maxWaitSeconds === undefined ? {} : { maxWaitSeconds }),
  })
  return {
    log,
    accountKey,
    background: buildStripe(secretKey, settings, throttled),
    interactive: buildStripe(secretKey, settings, createInteractiveHttpClient(options)),
    limit: (retryAfterSeconds: number, times: number | 'always' = 1) =>
      stripe.fake.control.injectFault({
        account,
        times,
        action: {
          kind: 'rate_limit',
          retry_after_seconds: retryAfterSeconds,
          reason: 'endpoint-rate',
        },
      }),
    lock: (times: number | 'always' = 1) =>
      stripe.fake.control.injectFault({
        account,
        times,
        action: { kind: 'rate_limit', reason: 'lock_timeout' },
      }),
    requests: () => stripe.fake.control.requests({ account }),
    statuses: () => stripe.fake.control.requests({ account }).map(({ status }) => status),
  }
}

const list = (client: Stripe) => client.customers.list({}, ONCE)

/** Whether the account was paused, its next slot lies after the pause, and the pause has ended. */
async function isAfterPause(account: string): Promise<boolean | undefined> {
  const [row] = await limiters.rows<{ after: boolean }>(
    `select next_at > paused_until
       and paused_until <= clock_timestamp() + interval '5 milliseconds' as after
     from stripe_request_budgets where account_key = ?`,
    [account],
  )
  return row?.after
}

/** Lets every request through and records the pauses. */
function unlimitedLimiter() {
  const pauses: number[] = []
  const limiter: StripeRateLimiter = {
    acquire: async () => {},
    recordRequest() {},
    pause: async (_, seconds) => void pauses.push(seconds),
  }
  return { limiter, pauses }
}

describe('a background request', () => {
  it('waits for Retry-After, with the whole account, and is then retried', async () => {
    const clients = clientsOf({ limiter: limiters.process() })
    clients.limit(1, 2)
    expect((await list(clients.background)).data).toEqual([])
    expect(clients.statuses()).toEqual([429, 429, 200])
    // Requests resume in a slot after the pause, so that is where the next slot lies.
    expect(await isAfterPause(clients.accountKey)).toBe(true)
    expect(clients.log.join()).toContain('"reason":"endpoint-rate"')
  })

  it('is retried with the same idempotency key, so that nothing is created twice', async () => {
    const clients = clientsOf({ limiter: limiters.process() })
    clients.limit(0)
    await clients.background.customers.create({}, ONCE)
    const [first, second] = clients.requests()
    expect(clients.statuses()).toEqual([429, 200])
    expect(first?.idempotencyKey).toBeTruthy()
    expect(second?.idempotencyKey).toBe(first?.idempotencyKey)
  })

  it('fails with Stripe’s 429 after eight retries', async () => {
    const clients = clientsOf({ limiter: limiters.process({ requestsPerSecond: 1000 }) })
    clients.limit(0, 'always')
    await expect(list(clients.background)).rejects.toMatchObject({
      statusCode: 429,
      type: 'StripeRateLimitError',
      code: 'rate_limit',
    })
    expect(clients.statuses()).toEqual(Array(9).fill(429))
  })

  it('backs off exponentially when Stripe names no time', async () => {
    const { limiter, pauses } = unlimitedLimiter()
    const clients = clientsOf({ limiter })
    const longest = [1, 2, 4, 8, 8, 8, 8, 8, 8]
    const trouble = clients.lock(longest.length)
    // The SDK's own retry after a lock timeout succeeds.
    await clients.background.customers.list({}, { maxNetworkRetries: 1 })
    expect(pauses).toHaveLength(longest.length)
    for (const [index, seconds] of pauses.entries()) {
      expect(seconds).toBeLessThanOrEqual(longest[index] ?? 0)
      expect(seconds).toBeGreaterThanOrEqual((longest[index] ?? 0) / 2)
    }
    stripe.fake.control.clearFaults(trouble.id)
  })

  it('fails when it must wait longer than allowed, and later ones are not sent', async () => {
    const limit = { maxWaitSeconds: 10 }
    const clients = clientsOf({ limiter: limiters.process(limit), ...limit })
    clients.limit(3_600)
    const busy = { type: 'StripeRateLimitError', statusCode: 429 }
    const error = await list(clients.background).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject(busy)
    expect(rateLimitWaitOf(error)).toBe(3_600)
    // Also with the SDK's own retries.
    const later = await clients.background.customers.create().catch((thrown: unknown) => thrown)
    expect(later).toMatchObject(busy)
    expect(rateLimitWaitOf(later)).toBeGreaterThan(3_000)
    expect(rateLimitWaitOf(new Error('wrapped', { cause: toAppError(later) }))).not.toBeNull()
    expect(clients.statuses()).toEqual([429])
  })

  it('stops waiting when its signal is aborted', async () => {
    const limiter = limiters.process()
    const clients = clientsOf({ limiter, signal: AbortSignal.timeout(100) })
    await limiter.pause(clients.accountKey, 3600)
    await expect(list(clients.background)).rejects.toMatchObject({ type: 'StripeConnectionError' })
    expect(clients.requests()).toEqual([])
  })
})

describe('an interactive request', () => {
  it('does not wait behind hundreds of background ones', async () => {
    const limiter = limiters.process({ requestsPerSecond: 1 })
    const stop = new AbortController()
    const { background, interactive, requests } = clientsOf({ limiter, signal: stop.signal })
    const queued = Array.from({ length: 300 }, () =>
      background.customers.list({}, ONCE).catch(() => 'stopped'),
    )
    await expect.poll(() => requests().length).toBe(1)
    for (let i = 0; i < 20; i += 1) await interactive.customers.create({}, ONCE)
    const methods = requests().map(({ method }) => method)
    expect(methods.filter((method) => method === 'POST')).toHaveLength(20)
    expect(methods.length).toBeLessThan(100)
    stop.abort()
    expect((await Promise.all(queued)).filter((each) => each === 'stopped').length).toBeGreaterThan(
      200,
    )
  })

  it('returns a 429 without waiting, and pauses background requests', async () => {
    const limiter = limiters.process()
    const clients = clientsOf({ limiter })
    clients.limit(2)
    await expect(list(clients.interactive)).rejects.toMatchObject({ statusCode: 429 })
    await expect.poll(() => limiter.statements.join()).toContain('excluded.paused_until')
    await list(clients.interactive)
    expect(clients.statuses()).toEqual([429, 200])
    await list(clients.background)
    expect(await isAfterPause(clients.accountKey)).toBe(true)
  })

  it('is sent while the rate limiter’s database is unreachable, and returns a 429', async () => {
    const limiter = limiters.cutOff()
    const clients = clientsOf({ limiter })
    await list(clients.interactive)
    clients.limit(1)
    await expect(list(clients.interactive)).rejects.toMatchObject({ statusCode: 429 })
    await expect.poll(() => clients.log.join()).toContain('could not pause')
    await expect.poll(() => limiter.log.join()).toContain('could not record requests')
  })
})

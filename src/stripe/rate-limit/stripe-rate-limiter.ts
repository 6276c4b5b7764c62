import { setTimeout } from 'node:timers/promises'
import { livemodeOf } from '../../conferences/stripe-credentials.ts'
import type { Db } from '../../db/connect.ts'
import { sha256 } from '../../shared/cryptography.ts'
import type { Logger } from '../../shared/logger.ts'
import { type AccountRateLimiter, createAccountRateLimiter } from './account-rate-limiter.ts'
import { createRateLimitStore, type RateLimitStore } from './rate-limit-store.ts'

/**
 * Limits the requests that background work sends to Stripe for an account. All processes on the
 * database share the limit. Interactive requests never wait: they are counted afterwards, and
 * background work slows down by as much.
 *
 * @see https://docs.stripe.com/rate-limits
 */
export type StripeRateLimiter = {
  /**
   * Resolves when the caller may send one request. Callers are served in the order of their calls.
   *
   * @throws the error of the database; the signal's reason when it is aborted.
   */
  acquire(accountKey: string, signal?: AbortSignal): Promise<void>
  /** Counts a request that was sent without waiting. Never throws. */
  recordRequest(accountKey: string): void
  /** No `acquire` resolves for this many seconds. @throws the error of the database. */
  pause(accountKey: string, seconds: number): Promise<void>
}

export type StripeRateLimiterOptions = {
  db: Db
  logger: Pick<Logger, 'debug'>
  /** null: no limit and no SQL statements. */
  requestsPerSecond: number | null
  /**
   * Requests that an idle account may send without waiting. Default: those of a quarter of a second.
   */
  burst?: number
}

// The default of 20 a second with a burst of 5 makes at most 25 in any second: Stripe's limit for a
// sandbox, and for one endpoint in live mode.
const defaultBurst = (requestsPerSecond: number) => Math.max(1, Math.floor(requestsPerSecond / 4))

export function createStripeRateLimiter(options: StripeRateLimiterOptions): StripeRateLimiter {
  const { db, logger, requestsPerSecond } = options
  if (requestsPerSecond === null) return createUnlimitedRateLimiter()
  const batchSize = defaultBurst(requestsPerSecond)
  const store = createRateLimitStore(db, { requestsPerSecond, burst: options.burst ?? batchSize })
  const intervalMs = 1000 / requestsPerSecond
  const limiters = new Map<string, AccountRateLimiter>()

  function limiterOf(accountKey: string): AccountRateLimiter {
    const existing = limiters.get(accountKey)
    if (existing !== undefined) return existing
    const limiter = createAccountRateLimiter(store, { accountKey, intervalMs, batchSize })
    limiters.set(accountKey, limiter)
    return limiter
  }

  return {
    acquire: (accountKey, signal) => limiterOf(accountKey).acquire(signal),
    recordRequest: createUsageRecorder(store, logger),
    async pause(accountKey, seconds) {
      limiterOf(accountKey).applyPause(await store.pause(accountKey, seconds))
    },
  }
}

/**
 * The account whose limit a Stripe key counts against. Conferences on one account share its limit;
 * Stripe limits test mode and live mode separately. Until the account is known, this is a hash from
 * which the key cannot be derived: it appears in the database and in the log.
 *
 * @param account - `acct_…` or null.
 */
export function rateLimitKeyOf(stripeKey: string, account: string | null): string {
  if (account === null) return `key_${sha256(stripeKey).slice(0, 32)}`
  return livemodeOf(stripeKey) ? account : `${account}:test`
}

/** One statement records all requests of this interval: at most ten commits a second. */
const FLUSH_INTERVAL_MS = 100

/** Counts requests in memory and writes the counts to the database in the background. */
function createUsageRecorder(
  store: Pick<RateLimitStore, 'recordRequests'>,
  logger: Pick<Logger, 'debug'>,
): (accountKey: string) => void {
  const counts = new Map<string, number>()
  let running = false

  async function run(): Promise<void> {
    running = true
    while (counts.size > 0) {
      // Does not keep a process alive that wants to exit.
      await setTimeout(FLUSH_INTERVAL_MS, undefined, { ref: false })
      const collected = [...counts]
      counts.clear()
      for (const [accountKey, count] of collected) await record(accountKey, count)
    }
    running = false
  }

  async function record(accountKey: string, count: number): Promise<void> {
    try {
      await store.recordRequests(accountKey, count)
    } catch (err) {
      // Not retried: by then these requests no longer count at Stripe either.
      logger.debug({ err }, 'could not record requests sent to Stripe')
    }
  }

  return (accountKey) => {
    counts.set(accountKey, (counts.get(accountKey) ?? 0) + 1)
    if (!running) void run()
  }
}

/** Sets no limit and sends no SQL. A pause applies to this process only. */
function createUnlimitedRateLimiter(): StripeRateLimiter {
  const pausedUntil = new Map<string, number>()
  const remainingMs = (accountKey: string) => (pausedUntil.get(accountKey) ?? 0) - performance.now()

  return {
    async acquire(accountKey, signal) {
      signal?.throwIfAborted()
      for (let ms = remainingMs(accountKey); ms > 0; ms = remainingMs(accountKey)) {
        await setTimeout(ms, undefined, signal === undefined ? {} : { signal }).catch((error) => {
          throw signal?.aborted ? signal.reason : error
        })
      }
    },
    recordRequest() {},
    async pause(accountKey, seconds) {
      const until = performance.now() + seconds * 1000
      pausedUntil.set(accountKey, Math.max(until, pausedUntil.get(accountKey) ?? 0))
    },
  }
}

import { setTimeout } from 'node:timers/promises'
import { livemodeOf } from '../../conferences/stripe-credentials.ts'
import type { Db } from '../../db/connect.ts'
import { sha256 } from '../../shared/cryptography.ts'
import type { Logger } from '../../shared/logger.ts'
import { type AccountRateLimiter, createAccountRateLimiter } from './account-rate-limiter.ts'
import { createRateLimitStore, type RateLimitStore } from './rate-limit-store.ts'

/**
 * How many requests an account's background work may send to Stripe, shared by all processes on the
 * database. Interactive requests never wait: they are noted, and the background gives way.
 *
 * @see https://docs.stripe.com/rate-limits
 */
export type StripeRateLimiter = {
  /**
   * Resolves when the caller may send one request; in the order of the calls.
   *
   * @throws whatever the database threw; the signal's reason once it is aborted.
   */
  take(accountKey: string, signal?: AbortSignal): Promise<void>
  /** Debits a request that goes out without waiting. Never throws. */
  note(accountKey: string): void
  /** Nobody's `take` resolves for so many seconds. @throws whatever the database threw. */
  pause(accountKey: string, seconds: number): Promise<void>
}

export type StripeRateLimiterOptions = {
  db: Db
  logger: Pick<Logger, 'debug'>
  /** null: no limit, and no statement is sent. */
  requestsPerSecond: number | null
  /** Requests that an account which rested may send at once; a quarter of a second's by default. */
  burst?: number
}

// The default of 20 a second with a burst of 5 makes 25 in the worst second: Stripe's limit for a
// sandbox, and for one endpoint in live mode.
const defaultBurst = (requestsPerSecond: number) => Math.max(1, Math.floor(requestsPerSecond / 4))

export function createStripeRateLimiter(options: StripeRateLimiterOptions): StripeRateLimiter {
  const { db, logger, requestsPerSecond } = options
  if (requestsPerSecond === null) return createUnlimitedRateLimiter()
  const window = defaultBurst(requestsPerSecond)
  const store = createRateLimitStore(db, { requestsPerSecond, burst: options.burst ?? window })
  const intervalMs = 1000 / requestsPerSecond
  const lines = new Map<string, AccountRateLimiter>()

  function lineOf(accountKey: string): AccountRateLimiter {
    const known = lines.get(accountKey)
    if (known !== undefined) return known
    const line = createAccountRateLimiter(store, { accountKey, intervalMs, window })
    lines.set(accountKey, line)
    return line
  }

  return {
    take: (accountKey, signal) => lineOf(accountKey).take(signal),
    note: createUsageRecorder(store, logger),
    async pause(accountKey, seconds) {
      lineOf(accountKey).hearPause(await store.pause(accountKey, seconds))
    },
  }
}

/**
 * Whose budget a key uses. Conferences on one account share it; Stripe limits test mode apart from
 * live. Until the account is known it is a hash that the key cannot be told from: the budget's table
 * and the log show this name.
 *
 * @param account - `acct_…` or null.
 */
export function rateLimitKeyOf(stripeKey: string, account: string | null): string {
  if (account === null) return `key_${sha256(stripeKey).slice(0, 32)}`
  return livemodeOf(stripeKey) ? account : `${account}:test`
}

/** Notes within this time share one statement, so that busy tills cost ten commits a second. */
const FLUSH_INTERVAL_MS = 100

/** Counts a request that went out; at once, and the database hears of it a little later. */
function createUsageRecorder(
  store: Pick<RateLimitStore, 'debit'>,
  logger: Pick<Logger, 'debug'>,
): (accountKey: string) => void {
  const counts = new Map<string, number>()
  let running = false

  async function run(): Promise<void> {
    running = true
    while (counts.size > 0) {
      // A process that ends need not wait for it.
      await setTimeout(FLUSH_INTERVAL_MS, undefined, { ref: false })
      const collected = [...counts]
      counts.clear()
      for (const [accountKey, count] of collected) await debit(accountKey, count)
    }
    running = false
  }

  async function debit(accountKey: string, count: number): Promise<void> {
    try {
      await store.debit(accountKey, count)
    } catch (err) {
      // Not kept for later: by then Stripe has forgotten these requests as well.
      logger.debug({ err }, 'requests to Stripe were not debited')
    }
  }

  return (accountKey) => {
    counts.set(accountKey, (counts.get(accountKey) ?? 0) + 1)
    if (!running) void run()
  }
}

/** No limit and no statements; a pause is known to this process only. */
function createUnlimitedRateLimiter(): StripeRateLimiter {
  const pausedUntil = new Map<string, number>()
  const left = (accountKey: string) => (pausedUntil.get(accountKey) ?? 0) - performance.now()

  return {
    async take(accountKey, signal) {
      signal?.throwIfAborted()
      for (let ms = left(accountKey); ms > 0; ms = left(accountKey)) {
        await setTimeout(ms, undefined, signal === undefined ? {} : { signal }).catch((error) => {
          throw signal?.aborted ? signal.reason : error
        })
      }
    },
    note() {},
    async pause(accountKey, seconds) {
      const until = performance.now() + seconds * 1000
      pausedUntil.set(accountKey, Math.max(until, pausedUntil.get(accountKey) ?? 0))
    },
  }
}

import { setMaxListeners } from 'node:events'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { livemodeOf } from '../../conferences/stripe-credentials.ts'
import type { Db } from '../../db/connect.ts'
import { sha256 } from '../../shared/cryptography.ts'
import type { Logger } from '../../shared/logger.ts'
import { createRateLimitStore, type PauseState, type RateLimitStore } from './rate-limit-store.ts'

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
   * @throws RateLimitWait when the next request must wait longer than `maxWaitSeconds`; the error of the
   * database; the signal's reason when it is aborted.
   */
  acquire(accountKey: string, signal?: AbortSignal): Promise<void>
  /** Counts a request that was sent without waiting. Never throws. */
  recordRequest(accountKey: string): void
  /** No `acquire` resolves for this many seconds. @throws the error of the database. */
  pause(accountKey: string, seconds: number): Promise<void>
}

/** The account's next request must wait too long for the caller to hold its place meanwhile. */
export class RateLimitWait extends Error {
  override readonly name = 'RateLimitWait'
  readonly seconds: number

  constructor(seconds: number) {
    super(`The account's next background request must wait for ${Math.ceil(seconds)} seconds`)
    this.seconds = seconds
  }
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
  /** The longest wait for the account's next request. Default: no limit. */
  maxWaitSeconds?: number
}

/** Longer than any wait. A finite number, because Postgres computes with it. */
const NO_MAX_WAIT_SECONDS = 1_000_000_000

// The default of 20 a second with a burst of 5 makes at most 25 in any second: Stripe's limit for a
// sandbox, and for one endpoint in live mode.
const defaultBurst = (requestsPerSecond: number) => Math.max(1, Math.floor(requestsPerSecond / 4))

export function createStripeRateLimiter(options: StripeRateLimiterOptions): StripeRateLimiter {
  const { db, logger, requestsPerSecond, maxWaitSeconds = NO_MAX_WAIT_SECONDS } = options
  if (requestsPerSecond === null) return createUnlimitedRateLimiter(maxWaitSeconds)
  const batchSize = defaultBurst(requestsPerSecond)
  const burst = options.burst ?? batchSize
  const store = createRateLimitStore(db, { requestsPerSecond, burst, maxWaitSeconds })
  const intervalMs = 1000 / requestsPerSecond
  const limiters = new Map<string, AccountRateLimiter>()

  function limiterOf(accountKey: string): AccountRateLimiter {
    const existing = limiters.get(accountKey)
    if (existing !== undefined) return existing
    const limiter = createAccountRateLimiter(store, {
      accountKey,
      intervalMs,
      batchSize,
      maxWaitSeconds,
    })
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
function createUnlimitedRateLimiter(maxWaitSeconds: number): StripeRateLimiter {
  const pausedUntil = new Map<string, number>()
  const remainingMs = (accountKey: string) => (pausedUntil.get(accountKey) ?? 0) - performance.now()

  return {
    async acquire(accountKey, signal) {
      signal?.throwIfAborted()
      for (let ms = remainingMs(accountKey); ms > 0; ms = remainingMs(accountKey)) {
        if (ms > maxWaitSeconds * 1000) throw new RateLimitWait(ms / 1000)
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

/**
 * How old the pause that this process last read may be when it uses a slot. Less than the round
 * trip to Stripe.
 */
const PAUSE_MAX_AGE_MS = 25

/** The callers of one process that wait to send requests for one account. */
type AccountRateLimiter = {
  /** See StripeRateLimiter. */
  acquire(signal?: AbortSignal): Promise<void>
  /** Applies a pause that this process has just set. */
  applyPause(state: PauseState): void
}

/**
 * Reserves slots for the waiting callers, at most `batchSize` in one statement, and lets one caller
 * through per slot. It reserves the next batch only when this one is used up. Slots reserved further
 * ahead would delay other processes, would be lost when this process dies, and could not be pushed
 * back by interactive requests.
 */
function createAccountRateLimiter(
  store: Pick<RateLimitStore, 'reserve' | 'readPause' | 'readWait'>,
  options: { accountKey: string; intervalMs: number; batchSize: number; maxWaitSeconds: number },
): AccountRateLimiter {
  const { accountKey, intervalMs, batchSize, maxWaitSeconds } = options
  let wakeUp = new AbortController()
  const queue = createWaitQueue(() => wakeUp.abort())
  /** Ascending times by the database's clock. A slot belongs to no caller: the queue sets the order. */
  let slots: number[] = []
  let clockOffset = 0
  /** By this process's clock: when it last asked for the pause, and last set one itself. */
  let pauseReadAt = Number.NEGATIVE_INFINITY
  let pauseSetAt = Number.NEGATIVE_INFINITY
  let running = false

  const databaseNow = () => performance.now() + clockOffset

  function apply(state: PauseState): void {
    // The response took some time to arrive, so this clock is late rather than early.
    clockOffset = state.now - performance.now()
    slots = slots.filter((slot) => slot >= state.pausedUntil)
  }

  async function readState<State extends PauseState | null>(
    statement: Promise<State>,
  ): Promise<State> {
    const readAt = performance.now()
    const state = await statement
    if (state === null) return state
    apply(state)
    pauseReadAt = readAt
    return state
  }

  /** @param early - milliseconds until the slot that is to be used; 0 or less. */
  function isPauseFresh(early: number): boolean {
    const now = performance.now()
    // The response may be older than a pause that was set while it was in flight.
    if (pauseReadAt <= pauseSetAt) return false
    // The second condition ends the loop when every response takes longer than the maximum age.
    return now - pauseReadAt <= PAUSE_MAX_AGE_MS || pauseReadAt >= now + early
  }

  async function reserve(): Promise<void> {
    const count = Math.min(queue.length, batchSize)
    const reserved = await readState(store.reserve(accountKey, count))
    if (reserved === null) return refuseLongWait()
    const { first } = reserved
    slots = Array.from({ length: count }, (_, index) => first + index * intervalMs)
  }

  async function refuseLongWait(): Promise<void> {
    const seconds = await store.readWait(accountKey)
    // The wait may have become shorter since the attempt to reserve.
    if (seconds > maxWaitSeconds) throw new RateLimitWait(seconds)
  }

  async function sleep(ms: number): Promise<void> {
    wakeUp = new AbortController()
    // Ends early when the last waiting caller leaves.
    await setTimeout(ms, undefined, { signal: wakeUp.signal }).catch(() => {})
  }

  async function step(): Promise<void> {
    const [slot] = slots
    if (slot === undefined) return reserve()
    const early = slot - databaseNow()
    if (early > 0) return sleep(early)
    if (!isPauseFresh(early)) {
      await readState(store.readPause(accountKey))
      return
    }
    slots.shift()
    queue.resolveFirst()
  }

  async function run(): Promise<void> {
    running = true
    // All callers of the same turn of the event loop share the first statement.
    await setImmediate()
    try {
      while (queue.length > 0) await step()
    } catch (error) {
      queue.rejectAll(error)
    }
    // Slots kept for the next caller would allow a second burst.
    slots = []
    running = false
  }

  return {
    applyPause(state) {
      pauseSetAt = performance.now()
      apply(state)
    },
    acquire(signal) {
      const turn = queue.join(signal)
      if (!running && queue.length > 0) void run()
      return turn
    },
  }
}

type Waiter = { resolve: () => void; reject: (error: unknown) => void }

/** First in, first out. */
type WaitQueue = {
  readonly length: number
  /** Resolves on the caller's turn. @throws the signal's reason when it is aborted. */
  join(signal?: AbortSignal): Promise<void>
  resolveFirst(): void
  rejectAll(error: unknown): void
}

/** @param onEmptied - called when an abort removes the last waiting caller. */
function createWaitQueue(onEmptied: () => void): WaitQueue {
  // A set keeps the order and removes any element in constant time.
  const waiters = new Set<Waiter>()

  return {
    get length() {
      return waiters.size
    },
    join: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const leave = () => {
          waiters.delete(waiter)
          signal?.removeEventListener('abort', onAbort)
        }
        const onAbort = () => {
          leave()
          reject(signal?.reason)
          if (waiters.size === 0) onEmptied()
        }
        const waiter = {
          resolve: () => (leave(), resolve()),
          reject: (error: unknown) => (leave(), reject(error)),
        }
        waiters.add(waiter)
        // All requests of a sync share one signal; Node warns of a leak from the eleventh listener on.
        if (signal !== undefined) setMaxListeners(0, signal)
        signal?.addEventListener('abort', onAbort)
      }),
    resolveFirst() {
      const [first] = waiters
      first?.resolve()
    },
    rejectAll(error) {
      for (const waiter of waiters) waiter.reject(error)
    },
  }
}

import { setMaxListeners } from 'node:events'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import { RateLimitWait } from './wait-for-rate-limit.ts'

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
    const rules = { accountKey, intervalMs, batchSize, maxWaitSeconds }
    const limiter = createAccountRateLimiter(store, rules)
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
type AccountRateLimiter = ReturnType<typeof createAccountRateLimiter>

/**
 * Reserves slots for the waiting callers, at most `batchSize` in one statement, and lets one caller
 * through per slot. It reserves the next batch only when this one is used up. Slots reserved further
 * ahead would delay other processes, would be lost when this process dies, and could not be pushed
 * back by interactive requests.
 */
function createAccountRateLimiter(
  store: Pick<RateLimitStore, 'reserve' | 'readPause' | 'readWait'>,
  options: { accountKey: string; intervalMs: number; batchSize: number; maxWaitSeconds: number },
) {
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
    /** Applies a pause that this process has just set. */
    applyPause(state: PauseState): void {
      pauseSetAt = performance.now()
      apply(state)
    },
    /** See StripeRateLimiter. */
    acquire(signal?: AbortSignal): Promise<void> {
      const turn = queue.join(signal)
      if (!running && queue.length > 0) void run()
      return turn
    },
  }
}

type Waiter = { resolve: () => void; reject: (error: unknown) => void }

/** First in, first out. @param onEmptied - called when an abort removes the last waiting caller. */
function createWaitQueue(onEmptied: () => void) {
  // A set keeps the order and removes any element in constant time.
  const waiters = new Set<Waiter>()

  return {
    get length() {
      return waiters.size
    },
    /** Resolves on the caller's turn. @throws the signal's reason when it is aborted. */
    join: (signal?: AbortSignal): Promise<void> =>
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
    resolveFirst(): void {
      const [first] = waiters
      first?.resolve()
    },
    rejectAll(error: unknown): void {
      for (const waiter of waiters) waiter.reject(error)
    },
  }
}

/** Milliseconds since 1970 by the database's clock, which all processes share. */
type DatabaseMs = number

type PauseState = { now: DatabaseMs; pausedUntil: DatabaseMs }

/** `first`: when the first of the reserved slots may be used. */
type Reservation = PauseState & { first: DatabaseMs }

type RateLimitStore = ReturnType<typeof createRateLimitStore>

// Stripe counts requests per second: how many were sent before that does not matter.
const MAX_DEBT_SECONDS = 1

const toMs = (time: string) => `(extract(epoch from ${time}) * 1000)::float8`
const PAUSE_COLUMNS = `${toMs('clock_timestamp()')} as now,
  coalesce(${toMs('paused_until')}, 0) as "pausedUntil"`

/**
 * clock_timestamp(), not now(): now() is the time at which the transaction began to wait for the row
 * lock, and that may lie before slots that others have reserved since.
 */
const NEXT_FREE_SLOT = `greatest(budget.next_at, budget.paused_until,
  clock_timestamp() - make_interval(secs => :credit::float8))`

const RESERVE = `
  insert into stripe_request_budgets as budget (account_key, next_at)
  values (:accountKey, clock_timestamp() + make_interval(secs => :length::float8 - :credit::float8))
  on conflict (account_key) do update
    set next_at = ${NEXT_FREE_SLOT} + make_interval(secs => :length::float8)
    where ${NEXT_FREE_SLOT} <= clock_timestamp() + make_interval(secs => :maxWait::float8)
  returning ${toMs('next_at - make_interval(secs => :length::float8)')} as first, ${PAUSE_COLUMNS}`

const READ_WAIT = `
  select greatest(0, extract(epoch from ${NEXT_FREE_SLOT} - clock_timestamp()))::float8 as seconds
  from stripe_request_budgets budget where account_key = :accountKey`

const RECORD_USAGE = `
  insert into stripe_request_budgets as budget (account_key, next_at)
  values (:accountKey, clock_timestamp()
    + make_interval(secs => least(:length::float8 - :credit::float8, :debt::float8)))
  on conflict (account_key) do update
    set next_at = greatest(budget.next_at, least(
      ${NEXT_FREE_SLOT} + make_interval(secs => :length::float8),
      clock_timestamp() + make_interval(secs => :debt::float8)))`

const PAUSE = `
  insert into stripe_request_budgets as budget (account_key, next_at, paused_until)
  values (:accountKey, clock_timestamp(), clock_timestamp() + make_interval(secs => :seconds::float8))
  on conflict (account_key) do update
    set paused_until = greatest(budget.paused_until, excluded.paused_until)
  returning ${PAUSE_COLUMNS}`

const READ_PAUSE = `
  select ${toMs('clock_timestamp()')} as now, coalesce((select ${toMs('paused_until')}
    from stripe_request_budgets where account_key = :accountKey), 0) as "pausedUntil"`

/**
 * The generic cell rate algorithm, with one row per account: `next_at` is the theoretical arrival
 * time of the next request. Each method is one statement, and so one short transaction.
 */
function createRateLimitStore(
  db: Db,
  rate: { requestsPerSecond: number; burst: number; maxWaitSeconds: number },
) {
  const { requestsPerSecond, burst, maxWaitSeconds: maxWait } = rate
  // An idle account may use the slots of the last `credit` seconds as well as the current one.
  const credit = (burst - 1) / requestsPerSecond

  async function one<Row>(sql: string, bindings: Record<string, string | number>): Promise<Row> {
    const { rows } = await db.raw<{ rows: Row[] }>(sql, bindings)
    const [row] = rows
    if (row === undefined) throw new Error('The rate-limit statement returned no row.')
    return row
  }

  return {
    /**
     * Reserves the account's next `count` free slots, one interval apart. Null when the first of them is
     * further away than the longest wait; then nothing is reserved, because a slot that no caller waits
     * for would delay later requests.
     */
    async reserve(accountKey: string, count: number): Promise<Reservation | null> {
      const bindings = { accountKey, credit, length: count / requestsPerSecond, maxWait }
      const { rows } = await db.raw<{ rows: Reservation[] }>(RESERVE, bindings)
      return rows[0] ?? null
    },
    /** Seconds until the account's next free slot. */
    readWait: async (accountKey: string): Promise<number> =>
      (await one<{ seconds: number }>(READ_WAIT, { accountKey, credit })).seconds,
    readPause: (accountKey: string) => one<PauseState>(READ_PAUSE, { accountKey }),
    /** Moves the end of the account's pause forward, never back. */
    pause: (accountKey: string, seconds: number) => one<PauseState>(PAUSE, { accountKey, seconds }),
    /** Moves the account's next free slot back by `count` requests that were sent without a slot. */
    async recordRequests(accountKey: string, count: number): Promise<void> {
      const length = count / requestsPerSecond
      await db.raw(RECORD_USAGE, { accountKey, credit, length, debt: MAX_DEBT_SECONDS })
    },
  }
}

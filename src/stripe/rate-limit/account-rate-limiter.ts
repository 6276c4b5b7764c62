import { setMaxListeners } from 'node:events'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { PauseState, RateLimitStore } from './rate-limit-store.ts'

/** How old the last look at the pause may be when a slot is used; less than a trip to Stripe. */
const PAUSE_MAX_AGE_MS = 25

/** One process's callers for one account. */
export type AccountRateLimiter = {
  /** Resolves when it is the caller's turn. @throws what the database threw; the signal's reason. */
  take(signal?: AbortSignal): Promise<void>
  /** Obeys a pause that this process has just announced. */
  hearPause(seen: PauseState): void
}

/**
 * Reserves slots for those that wait, `window` at most in one statement, and lets one through for
 * each slot. The next window is reserved only when this one is used up: slots far ahead would hold
 * up other processes, stay taken when this one dies, and not give way to interactive requests.
 */
export function createAccountRateLimiter(
  store: Pick<RateLimitStore, 'reserve' | 'readPause'>,
  options: { accountKey: string; intervalMs: number; window: number },
): AccountRateLimiter {
  const { accountKey, intervalMs, window } = options
  let nap = new AbortController()
  const line = createWaitQueue(() => nap.abort())
  /** Ascending, by the database's clock. Any caller may use any of them, so order is the line's. */
  let slots: number[] = []
  let clockOffset = 0
  /** By this process's clock: when the pause was last asked for, and last heard of unasked. */
  let askedAt = Number.NEGATIVE_INFINITY
  let heardAt = Number.NEGATIVE_INFINITY
  let running = false

  const databaseNow = () => performance.now() + clockOffset

  function obey(seen: PauseState): void {
    // The answer was on its way for a moment, so this clock is late rather than early.
    clockOffset = seen.now - performance.now()
    slots = slots.filter((slot) => slot >= seen.pausedUntil)
  }

  async function look<Seen extends PauseState>(statement: Promise<Seen>): Promise<Seen> {
    const asked = performance.now()
    const seen = await statement
    obey(seen)
    askedAt = asked
    return seen
  }

  /** @param early - milliseconds until the slot that is to be used, so never above 0. */
  function pauseIsKnown(early: number): boolean {
    const now = performance.now()
    // The answer may be older than a pause that was heard of while it was on its way.
    if (askedAt <= heardAt) return false
    // Asking again could go on for ever when each answer takes longer than this.
    return now - askedAt <= PAUSE_MAX_AGE_MS || askedAt >= now + early
  }

  async function reserve(): Promise<void> {
    const count = Math.min(line.length, window)
    const { first } = await look(store.reserve(accountKey, count))
    slots = Array.from({ length: count }, (_, index) => first + index * intervalMs)
  }

  async function sleep(ms: number): Promise<void> {
    nap = new AbortController()
    // It ends early when nobody waits any more.
    await setTimeout(ms, undefined, { signal: nap.signal }).catch(() => {})
  }

  async function step(): Promise<void> {
    const [slot] = slots
    if (slot === undefined) return reserve()
    const early = slot - databaseNow()
    if (early > 0) return sleep(early)
    if (!pauseIsKnown(early)) {
      await look(store.readPause(accountKey))
      return
    }
    slots.shift()
    line.letFirstThrough()
  }

  async function run(): Promise<void> {
    running = true
    // Lets everybody who came in the same turn of the event loop share the first statement.
    await setImmediate()
    try {
      while (line.length > 0) await step()
    } catch (error) {
      line.fail(error)
    }
    // Kept, they would be a second burst when the next caller comes.
    slots = []
    running = false
  }

  return {
    hearPause(seen) {
      heardAt = performance.now()
      obey(seen)
    },
    take(signal) {
      const turn = line.join(signal)
      if (!running && line.length > 0) void run()
      return turn
    },
  }
}

type Waiter = { resolve: () => void; reject: (error: unknown) => void }

/** Callers in the order in which they came. */
export type WaitQueue = {
  readonly length: number
  /** Resolves when the caller is let through. @throws the signal's reason once it is aborted. */
  join(signal?: AbortSignal): Promise<void>
  letFirstThrough(): void
  /** Sends everybody away. */
  fail(error: unknown): void
}

/** @param onEmptied - hears that the last one in the line gave up. */
function createWaitQueue(onEmptied: () => void): WaitQueue {
  // A set keeps the order and forgets one in the middle at once, however long the line.
  const line = new Set<Waiter>()

  return {
    get length() {
      return line.size
    },
    join: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const leave = () => {
          line.delete(waiting)
          signal?.removeEventListener('abort', giveUp)
        }
        const giveUp = () => {
          leave()
          reject(signal?.reason)
          if (line.size === 0) onEmptied()
        }
        const waiting = {
          resolve: () => (leave(), resolve()),
          reject: (error: unknown) => (leave(), reject(error)),
        }
        line.add(waiting)
        // Everybody in a sync shares its signal; from the eleventh on Node would warn of a leak.
        if (signal !== undefined) setMaxListeners(0, signal)
        signal?.addEventListener('abort', giveUp)
      }),
    letFirstThrough() {
      const [first] = line
      first?.resolve()
    },
    fail(error) {
      for (const waiting of line) waiting.reject(error)
    },
  }
}

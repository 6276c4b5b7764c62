import { setMaxListeners } from 'node:events'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { PauseState, RateLimitStore } from './rate-limit-store.ts'

/**
 * How old the pause that this process last read may be when it uses a slot. Less than the round
 * trip to Stripe.
 */
const PAUSE_MAX_AGE_MS = 25

/** The callers of one process that wait to send requests for one account. */
export type AccountRateLimiter = {
  /** Resolves on the caller's turn. @throws the error of the database; the signal's reason. */
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
export function createAccountRateLimiter(
  store: Pick<RateLimitStore, 'reserve' | 'readPause'>,
  options: { accountKey: string; intervalMs: number; batchSize: number },
): AccountRateLimiter {
  const { accountKey, intervalMs, batchSize } = options
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

  async function readState<State extends PauseState>(statement: Promise<State>): Promise<State> {
    const readAt = performance.now()
    const state = await statement
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
    const { first } = await readState(store.reserve(accountKey, count))
    slots = Array.from({ length: count }, (_, index) => first + index * intervalMs)
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

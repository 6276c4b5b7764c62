import { setImmediate, setTimeout } from 'node:timers/promises'
import type { BudgetStore, PauseSeen } from './budget-store.ts'
import { createWaitingLine } from './waiting-line.ts'

/** How old the last look at the pause may be when a slot is used; about one trip to Stripe. */
const PAUSE_KNOWN_MS = 25

/** One process's callers for one account. */
export type AccountLine = {
  /** Resolves when it is the caller's turn. @throws what the database threw; the signal's reason. */
  take(signal?: AbortSignal): Promise<void>
  /** What a statement outside this line saw. */
  sawPause(seen: PauseSeen): void
}

/**
 * Reserves slots for those that wait, `window` at most in one statement, and lets one through for
 * each slot. The next window is reserved only when this one is used up: slots far ahead would hold
 * up other processes, stay taken when this one dies, and not give way to interactive requests.
 */
export function createAccountLine(
  store: Pick<BudgetStore, 'reserve' | 'readPause'>,
  options: { accountKey: string; intervalMs: number; window: number },
): AccountLine {
  const { accountKey, intervalMs, window } = options
  let nap = new AbortController()
  const line = createWaitingLine(() => nap.abort())
  /** Ascending, by the database's clock. Any caller may use any of them, so order is the line's. */
  let slots: number[] = []
  let pausedUntil = 0
  let clockOffset = 0
  let pauseSeenAt = Number.NEGATIVE_INFINITY
  let running = false

  const databaseNow = () => performance.now() + clockOffset

  function sawPause(seen: PauseSeen): void {
    // The answer was on its way for a moment, so this clock is late rather than early.
    clockOffset = seen.now - performance.now()
    pausedUntil = Math.max(pausedUntil, seen.pausedUntil)
    slots = slots.filter((slot) => slot >= pausedUntil)
  }

  async function look<Seen extends PauseSeen>(statement: Promise<Seen>): Promise<Seen> {
    const asked = performance.now()
    const seen = await statement
    sawPause(seen)
    pauseSeenAt = asked
    return seen
  }

  async function reserve(): Promise<void> {
    const count = Math.min(line.length, window)
    const { first } = await look(store.reserve(accountKey, count))
    // A pause that another statement saw meanwhile may be newer than this answer.
    slots = Array.from({ length: count }, (_, index) => first + index * intervalMs).filter(
      (slot) => slot >= pausedUntil,
    )
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
    if (performance.now() - pauseSeenAt > PAUSE_KNOWN_MS) {
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
    sawPause,
    take(signal) {
      const turn = line.join(signal)
      if (!running && line.length > 0) void run()
      return turn
    },
  }
}

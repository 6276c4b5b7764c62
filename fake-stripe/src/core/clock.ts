/** Cancels a scheduled task; has no effect once the task has run. */
export type Cancel = () => void

/**
 * The time in Stripe's objects: real time plus the seconds that `advance` has added. It decides
 * when sessions expire, when idempotency keys end and when webhooks are retried.
 */
export type FakeClock = {
  /** Milliseconds since 1970, UTC. */
  now: () => number
  /** Whole seconds since 1970, UTC: what `created` and `expires_at` hold. */
  seconds: () => number
  /**
   * Whole seconds of real time. Webhooks are signed with it, because the receiver compares the
   * timestamp with its own clock, which `advance` does not change.
   */
  wallSeconds(): number
  /** Moves the clock forward. Tasks that become due run before this returns. */
  advance(seconds: number): void
  /** Runs `run` when the clock reaches `due` (milliseconds), by waiting or by `advance`. */
  at(due: number, run: () => void): Cancel
  /** Clears the timer and drops all tasks. */
  close(): void
}

type Task = { due: number; run: () => void }

const MAX_TIMEOUT_MS = 2 ** 31 - 1 // above it, setTimeout fires immediately

/** @param wall the real clock in milliseconds; a test can pass one that stands still. */
export function createFakeClock(wall: () => number = Date.now): FakeClock {
  let offset = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false
  const tasks: Task[] = [] // ascending by due; equal ones in insertion order

  const now = () => wall() + offset

  function arm() {
    clearTimeout(timer)
    const next = tasks[0]
    if (next === undefined || closed) return
    timer = setTimeout(tick, Math.min(Math.max(next.due - now(), 1), MAX_TIMEOUT_MS))
    timer.unref() // an expiry in 24 hours must not keep the process running
  }

  function runDue(limit: number, onEach: (task: Task) => void) {
    for (let next = tasks[0]; next !== undefined && next.due <= limit; next = tasks[0]) {
      tasks.shift()
      onEach(next)
      next.run()
    }
  }

  function tick() {
    runDue(now(), () => {})
    arm()
  }

  return {
    now,
    seconds: () => Math.floor(now() / 1000),
    wallSeconds: () => Math.floor(wall() / 1000),
    advance(seconds) {
      if (!(seconds >= 0)) throw new RangeError('The clock can only move forward.')
      const target = now() + seconds * 1000
      // Each task sees the time at which it was due, so an expired session has the right timestamp.
      runDue(target, (task) => {
        offset = Math.max(offset, task.due - wall())
      })
      offset = Math.max(offset, target - wall())
      arm()
    },
    at(due, run) {
      const task = { due, run }
      // Searched from the end, because most tasks are due after the existing ones.
      const index = tasks.findLastIndex((other) => other.due <= due) + 1
      tasks.splice(index, 0, task)
      if (index === 0) arm()
      return () => {
        const index = tasks.indexOf(task)
        if (index !== -1) tasks.splice(index, 1)
        arm()
      }
    },
    close() {
      closed = true
      tasks.length = 0
      clearTimeout(timer)
    },
  }
}

/** Waits in real time; closing the fake ends them early. */
export class Delays {
  #waiting = new Map<NodeJS.Timeout, () => void>()

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(timer)
        resolve()
      }, ms)
      this.#waiting.set(timer, resolve)
    })
  }

  close(): void {
    for (const [timer, resolve] of this.#waiting) {
      clearTimeout(timer)
      resolve()
    }
    this.#waiting.clear()
  }
}

type Interval = { interval: string; interval_count: number }

const DAY = 24 * 60 * 60

/**
 * The end of the nth period after an anchor. In a month that is too short the period ends on the
 * last day; the next one ends on the anchor's day again.
 *
 * @param anchor seconds since 1970, UTC.
 * @see https://docs.stripe.com/billing/subscriptions/billing-cycle
 */
export function periodEnd(anchor: number, { interval, interval_count: count }: Interval, n = 1) {
  if (interval === 'day') return anchor + n * count * DAY
  if (interval === 'week') return anchor + n * count * 7 * DAY
  const months = n * count * (interval === 'year' ? 12 : 1)
  const start = new Date(anchor * 1000)
  const lastDay = Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + months + 1, 0)
  const day = Math.min(start.getUTCDate(), new Date(lastDay).getUTCDate())
  const midnight = new Date(lastDay).setUTCDate(day)
  return midnight / 1000 + (anchor % DAY)
}

/** The first end of a period that is later than `after`. */
export function nextPeriodEnd(anchor: number, interval: Interval, after: number): number {
  let n = 1
  while (periodEnd(anchor, interval, n) <= after) n += 1
  return periodEnd(anchor, interval, n)
}

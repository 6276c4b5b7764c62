import type { Db } from '../../db/connect.ts'
import type { Logger } from '../../shared/logger.ts'
import { type AccountLine, createAccountLine } from './account-line.ts'
import { createBudgetStore } from './budget-store.ts'
import { createDebits } from './debits.ts'
import { createUnlimitedBudget } from './unlimited-budget.ts'

/**
 * How many requests an account's background work may send to Stripe, shared by all processes on the
 * database. Interactive requests never wait: they are noted, and the background gives way.
 *
 * @see https://docs.stripe.com/rate-limits
 */
export type RequestBudget = {
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

export type RequestBudgetOptions = {
  db: Db
  logger: Pick<Logger, 'debug'>
  /** null: no limit, and no statement is sent. */
  requestsPerSecond: number | null
  /** Requests that an account which rested may send at once; a quarter of a second's by default. */
  burst?: number
}

// The default of 20 a second with a burst of 5 makes 25 in the worst second: Stripe's limit for a
// sandbox, and for one endpoint in live mode.
const quarterOfASecond = (requestsPerSecond: number) =>
  Math.max(1, Math.floor(requestsPerSecond / 4))

export function createRequestBudget(options: RequestBudgetOptions): RequestBudget {
  const { db, logger, requestsPerSecond } = options
  if (requestsPerSecond === null) return createUnlimitedBudget()
  const window = quarterOfASecond(requestsPerSecond)
  const store = createBudgetStore(db, { requestsPerSecond, burst: options.burst ?? window })
  const intervalMs = 1000 / requestsPerSecond
  const lines = new Map<string, AccountLine>()

  function lineOf(accountKey: string): AccountLine {
    const known = lines.get(accountKey)
    if (known !== undefined) return known
    const line = createAccountLine(store, { accountKey, intervalMs, window })
    lines.set(accountKey, line)
    return line
  }

  return {
    take: (accountKey, signal) => lineOf(accountKey).take(signal),
    note: createDebits(store, logger),
    async pause(accountKey, seconds) {
      lineOf(accountKey).hearPause(await store.pause(accountKey, seconds))
    },
  }
}

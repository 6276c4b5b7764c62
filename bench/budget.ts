import { connect } from '../src/db/connect.ts'
import { createLogger } from '../src/shared/logger.ts'
import { createStripeRateLimiter } from '../src/stripe/rate-limit/stripe-rate-limiter.ts'

export type BudgetBenchOptions = {
  /** A migrated database of its own. */
  connectionString: string
  print: (line: string) => void
  /** How long the rate is measured once the burst is used up. */
  seconds?: number
}

const LIMIT = 20
const BURST = 5
const TAKERS = 8
const ACCOUNT = 'acct_bench'

/** The most within one second, wherever it begins. */
function busiestSecond(times: number[]): number {
  const within = (from: number) => times.filter((at) => at >= from && at < from + 1000).length
  return Math.max(...times.map(within))
}

/**
 * Requests a second that several takers in two processes' budgets together get, against the limit:
 * as near to 1 as possible, while no second sees more than limit and burst.
 */
export async function benchBudget({
  connectionString,
  print,
  seconds = 5,
}: BudgetBenchOptions): Promise<{ ratio: number; busiest: number }> {
  const pools = [connect(connectionString, { max: 3 }), connect(connectionString, { max: 3 })]
  try {
    let statements = 0
    const budgets = pools.map((db) => {
      db.on('query', () => {
        statements += 1
      })
      const logger = createLogger('silent')
      return createStripeRateLimiter({ db, logger, requestsPerSecond: LIMIT, burst: BURST })
    })
    const times: number[] = []
    const wanted = BURST + LIMIT * seconds
    const stop = new AbortController()
    const taker = async (_: unknown, index: number) => {
      const budget = budgets[index % budgets.length]
      while (budget !== undefined && !stop.signal.aborted) {
        await budget.acquire(ACCOUNT, stop.signal)
        times.push(performance.now())
        if (times.length >= wanted) stop.abort()
      }
    }
    await Promise.allSettled(Array.from({ length: TAKERS }, taker))
    // From the last of the burst on, each takes one interval.
    const taken = ((times.at(-1) ?? 0) - (times[BURST - 1] ?? 0)) / 1000
    const achieved = (times.length - BURST) / taken
    const ratio = achieved / LIMIT
    const busiest = busiestSecond(times)
    print(`${achieved.toFixed(2)} requests/s at a limit of ${LIMIT}, ratio ${ratio.toFixed(3)}`)
    print(`  busiest second: ${busiest}, allowed ${LIMIT + BURST}`)
    print(`  ${(statements / times.length).toFixed(2)} statements a request, two pools`)
    return { ratio, busiest }
  } finally {
    await Promise.all(pools.map((db) => db.destroy()))
  }
}

import { connect } from '../src/db/connect.ts'
import { createLogger } from '../src/shared/logger.ts'
import { createStripeRateLimiter } from '../src/stripe/stripe-rate-limiter.ts'

export type BudgetBenchOptions = {
  /** A migrated database that nothing else uses. */
  connectionString: string
  print: (line: string) => void
  /** Duration of the measurement after the burst is used up. */
  seconds?: number
}

const LIMIT = 20
const BURST = 5
const CALLERS = 8
const ACCOUNT = 'acct_bench'

/** The largest number of requests within any second. */
function busiestSecond(times: number[]): number {
  const within = (from: number) => times.filter((at) => at >= from && at < from + 1000).length
  return Math.max(...times.map(within))
}

/**
 * Requests per second of several callers that share one limit through two rate limiters, divided by the
 * limit: as close to 1 as possible, with at most limit plus burst requests in any second.
 */
export async function benchBudget({
  connectionString,
  print,
  seconds = 5,
}: BudgetBenchOptions): Promise<{ ratio: number; busiest: number }> {
  const pools = [connect(connectionString, { max: 3 }), connect(connectionString, { max: 3 })]
  try {
    let statements = 0
    const rateLimiters = pools.map((db) => {
      db.on('query', () => {
        statements += 1
      })
      const logger = createLogger('silent')
      return createStripeRateLimiter({ db, logger, requestsPerSecond: LIMIT, burst: BURST })
    })
    const times: number[] = []
    const wanted = BURST + LIMIT * seconds
    const stop = new AbortController()
    const caller = async (_: unknown, index: number) => {
      const rateLimiter = rateLimiters[index % rateLimiters.length]
      while (rateLimiter !== undefined && !stop.signal.aborted) {
        await rateLimiter.acquire(ACCOUNT, stop.signal)
        times.push(performance.now())
        if (times.length >= wanted) stop.abort()
      }
    }
    await Promise.allSettled(Array.from({ length: CALLERS }, caller))
    // Each request after the burst takes one interval.
    const elapsed = ((times.at(-1) ?? 0) - (times[BURST - 1] ?? 0)) / 1000
    const achieved = (times.length - BURST) / elapsed
    const ratio = achieved / LIMIT
    const busiest = busiestSecond(times)
    print(`${achieved.toFixed(2)} requests/s at a limit of ${LIMIT}, ratio ${ratio.toFixed(3)}`)
    print(`  busiest second: ${busiest}, allowed ${LIMIT + BURST}`)
    print(`  ${(statements / times.length).toFixed(2)} statements per request, two pools`)
    return { ratio, busiest }
  } finally {
    await Promise.all(pools.map((db) => db.destroy()))
  }
}

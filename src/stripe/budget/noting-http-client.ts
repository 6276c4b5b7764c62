import type { HttpClient } from '../counting-http-client.ts'
import type { BudgetedClientOptions } from './paced-http-client.ts'
import { readRateLimit } from './rate-limit-answer.ts'

// A 429 without a time, such as a lock that somebody else holds.
const DEFAULT_PAUSE_SECONDS = 1

/**
 * For interactive work: nothing waits. Each request is debited, and a 429 stops the account's
 * background work for as long as Stripe says; the answer is passed on as it came.
 */
export function createNotingHttpClient(options: BudgetedClientOptions): HttpClient {
  const { inner, budget, accountKey, logger } = options

  function pauseBackground(seconds: number): void {
    budget
      .pause(accountKey, seconds)
      .catch((err: unknown) => logger.warn({ err }, 'background requests were not paused'))
  }

  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      budget.note(accountKey)
      const answer = await inner.makeRequest(...request)
      const limit = readRateLimit(answer)
      if (limit !== null) {
        logger.warn({ accountKey, ...limit }, 'Stripe limited an interactive request')
        pauseBackground(limit.retryAfterSeconds ?? DEFAULT_PAUSE_SECONDS)
      }
      return answer
    },
  }
}

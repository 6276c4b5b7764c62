import type { Logger } from '../../shared/logger.ts'
import type { HttpClient } from '../counting-http-client.ts'
import { type RateLimitAnswer, readRateLimit } from './rate-limit-answer.ts'
import type { RequestBudget } from './request-budget.ts'

export type BudgetedClientOptions = {
  inner: HttpClient
  budget: RequestBudget
  accountKey: string
  logger: Pick<Logger, 'warn'>
}

// With the longest back-offs about two minutes; after that the job's own retries are better.
const REPEATS = 8
const LONGEST_BACKOFF_SECONDS = 32

/** 1, 2, 4 … 32 s, of which up to half is left to chance so that processes do not return at once. */
function backoffSeconds(repeat: number): number {
  const most = Math.min(2 ** repeat, LONGEST_BACKOFF_SECONDS)
  return most * (0.5 + Math.random() / 2)
}

function pauseSeconds(limit: RateLimitAnswer, repeat: number): number {
  return limit.retryAfterSeconds ?? backoffSeconds(repeat)
}

/**
 * For background work: each request takes a slot of the account first. A 429 pauses the account's
 * background work in every process, and the request is repeated with the same idempotency key; the
 * last 429 is passed on.
 *
 * @param options.signal - ends the waiting; the SDK reports that as a connection error.
 */
export function createPacedHttpClient(
  options: BudgetedClientOptions & { signal?: AbortSignal },
): HttpClient {
  const { inner, budget, accountKey, logger, signal } = options
  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      for (let repeat = 0; ; repeat += 1) {
        await budget.take(accountKey, signal)
        const answer = await inner.makeRequest(...request)
        const limit = readRateLimit(answer)
        if (limit === null) return answer
        const pausedSeconds = pauseSeconds(limit, repeat)
        logger.warn({ accountKey, pausedSeconds, ...limit }, 'Stripe limited a background request')
        const last = repeat === REPEATS
        // An answer that nobody reads would keep its connection.
        if (!last) await answer.toJSON().catch(() => {})
        await budget.pause(accountKey, pausedSeconds)
        if (last) return answer
      }
    },
  }
}

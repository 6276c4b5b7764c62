import type { Logger } from '../../shared/logger.ts'
import type { HttpClient } from '../counting-http-client.ts'
import type { StripeRateLimiter } from './stripe-rate-limiter.ts'

type RateLimitedClientOptions = {
  inner: HttpClient
  budget: StripeRateLimiter
  accountKey: string
  logger: Pick<Logger, 'warn'>
}

// With the longest back-offs about two minutes; after that the job's own retries are better.
const MAX_RETRIES = 8
const MAX_BACKOFF_SECONDS = 32

/** 1, 2, 4 … 32 s, of which up to half is left to chance so that processes do not return at once. */
function backoffSeconds(repeat: number): number {
  const most = Math.min(2 ** repeat, MAX_BACKOFF_SECONDS)
  return most * (0.5 + Math.random() / 2)
}

function pauseSeconds(limit: RateLimitResponse, repeat: number): number {
  return limit.retryAfterSeconds ?? backoffSeconds(repeat)
}

/**
 * For background work: each request takes a slot of the account first. A 429 pauses the account's
 * background work in every process, and the request is repeated with the same idempotency key; the
 * last 429 is passed on.
 *
 * @param options.signal - ends the waiting; the SDK reports that as a connection error.
 */
export function createThrottledHttpClient(
  options: RateLimitedClientOptions & { signal?: AbortSignal },
): HttpClient {
  const { inner, budget, accountKey, logger, signal } = options
  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      for (let repeat = 0; ; repeat += 1) {
        await budget.take(accountKey, signal)
        const answer = await inner.makeRequest(...request)
        const limit = parseRateLimit(answer)
        if (limit === null) return answer
        const pausedSeconds = pauseSeconds(limit, repeat)
        logger.warn({ accountKey, pausedSeconds, ...limit }, 'Stripe limited a background request')
        const last = repeat === MAX_RETRIES
        // An answer that nobody reads would keep its connection.
        if (!last) await answer.toJSON().catch(() => {})
        await budget.pause(accountKey, pausedSeconds)
        if (last) return answer
      }
    },
  }
}

// A 429 without a time, such as a lock that somebody else holds.
const DEFAULT_PAUSE_SECONDS = 1

/**
 * For interactive work: nothing waits. Each request is debited, and a 429 stops the account's
 * background work for as long as Stripe says; the answer is passed on as it came.
 */
export function createInteractiveHttpClient(options: RateLimitedClientOptions): HttpClient {
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
      const limit = parseRateLimit(answer)
      if (limit !== null) {
        logger.warn({ accountKey, ...limit }, 'Stripe limited an interactive request')
        pauseBackground(limit.retryAfterSeconds ?? DEFAULT_PAUSE_SECONDS)
      }
      return answer
    },
  }
}

type HttpResponse = Awaited<ReturnType<HttpClient['makeRequest']>>

/** What Stripe said with a 429. `retryAfterSeconds` is null where it named no time. */
type RateLimitResponse = { retryAfterSeconds: number | null; reason: string | null }

// One odd header must not stop every sync for days.
const MAX_PAUSE_SECONDS = 3600

function parseSeconds(header: string | string[] | undefined): number | null {
  if (typeof header !== 'string' || !/^\d+(\.\d+)?$/.test(header.trim())) return null
  return Math.min(Number(header), MAX_PAUSE_SECONDS)
}

/**
 * Null unless the answer is a 429.
 *
 * @see https://docs.stripe.com/rate-limits
 */
function parseRateLimit(answer: HttpResponse): RateLimitResponse | null {
  if (answer.getStatusCode() !== 429) return null
  const headers = answer.getHeaders()
  const reason = headers['stripe-rate-limited-reason']
  return {
    retryAfterSeconds: parseSeconds(headers['retry-after']),
    reason: typeof reason === 'string' ? reason : null,
  }
}

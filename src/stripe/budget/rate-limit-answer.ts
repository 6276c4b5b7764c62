import type { HttpClient } from '../counting-http-client.ts'

type Answer = Awaited<ReturnType<HttpClient['makeRequest']>>

/** What Stripe said with a 429. `retryAfterSeconds` is null where it named no time. */
export type RateLimitAnswer = { retryAfterSeconds: number | null; reason: string | null }

// One odd header must not stop every sync for days.
const LONGEST_PAUSE_SECONDS = 3600

function seconds(header: string | string[] | undefined): number | null {
  if (typeof header !== 'string' || !/^\d+(\.\d+)?$/.test(header.trim())) return null
  return Math.min(Number(header), LONGEST_PAUSE_SECONDS)
}

/**
 * Null unless the answer is a 429.
 *
 * @see https://docs.stripe.com/rate-limits
 */
export function readRateLimit(answer: Answer): RateLimitAnswer | null {
  if (answer.getStatusCode() !== 429) return null
  const headers = answer.getHeaders()
  const reason = headers['stripe-rate-limited-reason']
  return {
    retryAfterSeconds: seconds(headers['retry-after']),
    reason: typeof reason === 'string' ? reason : null,
  }
}

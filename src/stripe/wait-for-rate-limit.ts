import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { LONG_JOBS, THROTTLED_JOBS } from '../jobs/job-catalogue.ts'
import { conferenceOfJob, parkJob } from '../jobs/job-queue.ts'
import type { ParkFailedJob } from '../jobs/job-registry.ts'
import { AppError } from '../shared/errors.ts'
import { toAppError } from './stripe-errors.ts'

/**
 * The longest time for which background work of the service holds its worker while Stripe's rate limit
 * pauses its account. Longer than the back-off of one request, so that short limits do not interrupt a
 * run, and far shorter than the time for which other conferences may wait for that worker.
 */
export const MAX_SLOT_WAIT_SECONDS = 10

/** Longer values of `Retry-After` count as this: one wrong header must not stop all syncs for days. */
export const MAX_PAUSE_SECONDS = 3600

/** The account's next request must wait too long for the caller to hold its place meanwhile. */
export class RateLimitWait extends Error {
  override readonly name = 'RateLimitWait'
  readonly seconds: number

  constructor(seconds: number) {
    super(`The account's next background request must wait for ${Math.ceil(seconds)} seconds`)
    this.seconds = seconds
  }
}

/**
 * The seconds for which work must wait after this error, if it may not hold its worker for so long; else
 * null. Looks at the causes of the error too, because callers wrap errors of Stripe.
 */
export function rateLimitWaitOf(error: unknown): number | null {
  const known = toAppError(error)
  if (known instanceof AppError && known.code === 'stripe_unavailable') {
    const { retryAfterSeconds = 0 } = known
    if (retryAfterSeconds > MAX_SLOT_WAIT_SECONDS) {
      return Math.min(retryAfterSeconds, MAX_PAUSE_SECONDS)
    }
  }
  return error instanceof Error && error.cause !== undefined ? rateLimitWaitOf(error.cause) : null
}

/**
 * Parks jobs until the rate limit of their Stripe account allows their next request. Only jobs whose
 * requests are throttled: jobs of purchases retry earlier, because a pause does not apply to them.
 */
export function createRateLimitParking({ db }: { db: Db }): ParkFailedJob {
  return async (job, error) => {
    const waitSeconds = rateLimitWaitOf(error)
    const conferenceId = conferenceOfJob(job)
    const isThrottled = LONG_JOBS.has(job.name) || THROTTLED_JOBS.has(job.name)
    if (waitSeconds === null || conferenceId === null || !isThrottled) return false
    const wait = { flag: `stripe_rate_limit:${conferenceId}`, waitSeconds }
    await withTenant(db, { conferenceId }, (trx) => parkJob(trx, job, wait))
    return true
  }
}

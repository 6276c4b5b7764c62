import {
  type KeyProblem,
  recordUnusableKey,
  type UnusableKey,
} from '../conferences/unusable-key.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob, conferenceOfJob, parkJob, resumeParkedJobs } from '../jobs/job-queue.ts'
import type { ParkFailedJob } from '../jobs/job-registry.ts'
import { AppError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { Logger } from '../shared/logger.ts'
import { classifyStripeError, errorText } from './stripe-errors.ts'

/**
 * The problem with the conference's key that caused an error, or null. Looks at the causes of the error
 * too, because callers wrap errors of Stripe.
 */
export function keyProblemOf(error: unknown): KeyProblem | null {
  if (classifyStripeError(error) === 'key_rejected') return 'rejected'
  if (error instanceof AppError && error.code === 'stripe_key_rejected') return 'rejected'
  if (error instanceof AppError && error.code === 'stripe_key_missing') return 'missing'
  return error instanceof Error && error.cause !== undefined ? keyProblemOf(error.cause) : null
}

/** Work of a conference that failed because of its key. */
type KeyFailure = {
  conferenceId: string
  problem: KeyProblem
  error: unknown
  /** How long the work took until it failed. */
  elapsedSeconds: number
}

/**
 * Records the failure and returns how long its work waits for a valid key, without using up an attempt.
 * Once in six hours, the operators get a mail. Call `logKeyAlarm` after the commit.
 */
export async function waitForKey(trx: Tx, failure: KeyFailure): Promise<UnusableKey> {
  const unusable = await recordUnusableKey(trx, failure.conferenceId, failure)
  if (unusable.isAlarm) {
    const mail = rejectedKeyMail(unusable.slug, errorText(failure.error))
    await addJob(trx, 'mail_operators', { message: newId('mail'), ...mail })
  }
  return unusable
}

/** Writes the one error line of an alarm. */
export function logKeyAlarm(logger: Logger, failure: KeyFailure, { isAlarm }: UnusableKey): void {
  if (!isAlarm) return
  logger.error(
    { conference: failure.conferenceId, error: errorText(failure.error) },
    'Stripe rejects the API key of a conference: set a valid key',
  )
}

/** The mail to the operators. Its lines have at most 76 characters, except Stripe's message. */
function rejectedKeyMail(slug: string, error: string): { subject: string; text: string } {
  return {
    subject: `Stripe rejects the API key of ${slug}`,
    text: [
      `Stripe rejects the API key of the conference ${slug}:`,
      error,
      [
        'Events and jobs of this conference wait. They lose no attempt and are',
        'retried every 15 minutes at most.',
      ].join('\n'),
      [
        "Check in Stripe's dashboard:",
        '- Does the key still exist?',
        '- If it is a restricted key: does it have all permissions?',
      ].join('\n'),
      [
        `Then set the key with PATCH /v1/conferences/${slug}`,
        '(`stripe_secret_key`). Setting a key, also the same one, retries',
        'immediately.',
        '',
      ].join('\n'),
    ].join('\n\n'),
  }
}

const flagOf = (conferenceId: string) => `stripe_key:${conferenceId}`

/** Parks jobs that failed because of their conference's key. */
export function createKeyParking(deps: { db: Db; logger: Logger }): ParkFailedJob {
  return async (job, error, elapsedSeconds) => {
    const problem = keyProblemOf(error)
    const conferenceId = conferenceOfJob(job)
    if (problem === null || conferenceId === null) return false
    const failure = { conferenceId, problem, error, elapsedSeconds }
    const unusable = await withTenant(deps.db, { conferenceId }, async (trx) => {
      const found = await waitForKey(trx, failure)
      await parkJob(trx, job, { flag: flagOf(conferenceId), waitSeconds: found.waitSeconds })
      return found
    })
    logKeyAlarm(deps.logger, failure, unusable)
    return true
  }
}

/** Makes all jobs due that wait for a valid key of the conference. Returns their number. */
export function resumeJobsWaitingForKey(trx: Tx, conferenceId: string): Promise<number> {
  return resumeParkedJobs(trx, flagOf(conferenceId))
}

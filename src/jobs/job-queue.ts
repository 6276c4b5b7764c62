import type { Tx } from '../db/connect.ts'
import {
  JOBS,
  type JobDefinition,
  type JobName,
  type JobPayload,
  serializePayload,
} from './job-catalogue.ts'

export type AddJobOptions = {
  /** Not before this moment. */
  runAt?: Date
  /** Instead of the job's own key. */
  jobKey?: string
  /**
   * What becomes of waiting work of the same key. `replace` (default): it starts anew, with the new
   * payload and time. `preserve_run_at`: the new payload, the old time. `unsafe_dedupe`: nothing
   * changes, even when that work runs already or has failed for good.
   *
   * @see https://worker.graphile.org/docs/job-key
   */
  jobKeyMode?: 'replace' | 'preserve_run_at' | 'unsafe_dedupe'
  /** Instead of the job's own number of tries. */
  maxAttempts?: number
}

/**
 * Adds a job in the caller's transaction: it exists if, and only from the moment that, the
 * transaction commits. So work is asked for by the very commit that makes it true.
 *
 * @throws JobPayloadError when the payload is not the job's.
 */
export async function addJob<Name extends JobName>(
  trx: Tx,
  name: Name,
  payload: JobPayload<Name>,
  options: AddJobOptions = {},
): Promise<void> {
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  const stored = serializePayload(name, job, payload)
  await trx.raw(
    `select graphile_worker.add_job(
       identifier => ?::text, payload => ?::json, run_at => ?::timestamptz, max_attempts => ?::int,
       job_key => ?::text, job_key_mode => ?::text, queue_name => ?::text)`,
    [
      name,
      JSON.stringify(stored),
      options.runAt ?? null,
      options.maxAttempts ?? job.maxAttempts,
      options.jobKey ?? job.key?.(stored) ?? null,
      options.jobKeyMode ?? 'replace',
      job.queue?.(stored) ?? null,
    ],
  )
}

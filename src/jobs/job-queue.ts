import type { Knex } from 'knex'
import { z } from 'zod'
import type { Db, Tx } from '../db/connect.ts'
import { DELETE_BATCH_SIZE } from '../db/delete-in-batches.ts'
import { currentTraceparent } from '../shared/work-context.ts'
import {
  JOBS,
  type JobDefinition,
  type JobName,
  type JobPayload,
  laneOf,
  parsePayload,
  serializePayload,
} from './job-catalogue.ts'

export type AddJobOptions = {
  /** Not before this moment. */
  runAt?: Date
  /** Replaces the key of the job's definition. */
  jobKey?: string
  /**
   * What happens to a waiting job with the same key. `replace` (default): it gets the new payload, the
   * new time and all attempts. `preserve_run_at`: the new payload, but the old time. `unsafe_dedupe`:
   * it stays as it is, even if it already runs or has failed on its last attempt.
   *
   * @see https://worker.graphile.org/docs/job-key
   */
  jobKeyMode?: 'replace' | 'preserve_run_at' | 'unsafe_dedupe'
  /** Replaces the number of attempts of the job's definition. */
  maxAttempts?: number
  /** A mark by which the job can be found. @see https://worker.graphile.org/docs/forbidden-flags */
  flag?: string
}

/**
 * Adds a job in the caller's transaction, so the job exists exactly when the change that needs it is
 * committed.
 *
 * @throws JobPayloadError when the payload does not match the job's schema.
 */
export async function addJob<Name extends JobName>(
  trx: Tx,
  name: Name,
  payload: JobPayload<Name>,
  options: AddJobOptions = {},
): Promise<void> {
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  const stored = serializePayload(name, job, payload)
  const flags = [options.flag, job.share?.(stored).name, traceFlag()].filter(
    (flag) => flag !== undefined,
  )
  await trx.raw(
    `select pg_notify('${JOB_CHANNEL}', ?), graphile_worker.add_job(
       identifier => ?::text, payload => ?::json, run_at => ?::timestamptz, max_attempts => ?::int,
       job_key => ?::text, job_key_mode => ?::text, queue_name => ?::text, flags => ?::text[])`,
    [
      laneOf(name),
      name,
      JSON.stringify(stored),
      options.runAt ?? null,
      options.maxAttempts ?? job.maxAttempts,
      options.jobKey ?? job.key?.(stored) ?? null,
      options.jobKeyMode ?? 'replace',
      job.queue?.(stored) ?? null,
      flags.length === 0 ? null : flags,
    ],
  )
}

/** Adds many jobs of one kind like `addJob`, each under its own key, in one statement. */
export async function addJobs<Name extends JobName>(
  trx: Tx,
  name: Name,
  payloads: readonly JobPayload<Name>[],
): Promise<void> {
  if (payloads.length === 0) return
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  const stored = payloads.map((payload) => serializePayload(name, job, payload))
  await trx.raw(
    `select pg_notify('${JOB_CHANNEL}', ''), (
       select count(*) from graphile_worker.add_jobs(array(
         select row(:name, cast(j.payload as json), j.queue, null, :maxAttempts, j.key, null,
           nullif(array_remove(array[j.flag, cast(:trace as text)], null), '{}')
         )::graphile_worker.job_spec
         from unnest(cast(:payloads as text[]), cast(:keys as text[]), cast(:queues as text[]),
           cast(:flags as text[])) as j (payload, key, queue, flag))))`,
    {
      name,
      maxAttempts: job.maxAttempts,
      payloads: stored.map((each) => JSON.stringify(each)),
      keys: stored.map((each) => job.key?.(each) ?? null),
      queues: stored.map((each) => job.queue?.(each) ?? null),
      flags: stored.map((each) => job.share?.(each).name ?? null),
      trace: traceFlag() ?? null,
    },
  )
}

const TRACE_FLAG = 'trace:'

/**
 * Marks a job with the trace that adds it. A flag and no member of the payload, which processes of the previous
 * release would refuse.
 */
function traceFlag(): string | undefined {
  const traceparent = currentTraceparent()
  return traceparent === null ? undefined : `${TRACE_FLAG}${traceparent}`
}

/** The trace that added a job, or null. */
export function traceparentOf({ flags }: { flags: object | null }): string | null {
  const flag = Object.keys(flags ?? {}).find((each) => each.startsWith(TRACE_FLAG))
  return flag === undefined ? null : flag.slice(TRACE_FLAG.length)
}

/**
 * An SQL condition: no job with this key runs, or will run. A job that was used up remains in the queue.
 *
 * @param key SQL without values from outside.
 */
export const hasNoJobSql = (key: string) =>
  `not exists (select from graphile_worker.jobs job where job.key = ${key}
     and (job.locked_at is not null or job.attempts < job.max_attempts))`

/** A job that is running in this process. */
export type RunningJob<Name extends JobName = JobName> = {
  id: string
  name: Name
  key: string | null
  /** As it is stored. */
  payload: unknown
}

const conferencePayload = z.looseObject({ conference_id: z.string() })

/** The conference that a job is about, or null. */
export function conferenceOfJob({ payload }: { payload: unknown }): string | null {
  return conferencePayload.safeParse(payload).data?.conference_id ?? null
}

/**
 * Puts a running job back into the queue with all of its attempts, due after `waitSeconds`. From the
 * commit on, the queue holds a new job under the key, and the running one is never retried, also when its
 * process dies. When the same job was added again in the meantime, that one remains as it is.
 */
export async function parkJob<Name extends JobName>(
  trx: Tx,
  { id, name, key, payload }: RunningJob<Name>,
  { flag, waitSeconds }: { flag?: string; waitSeconds: number },
): Promise<void> {
  const newer = await trx('graphile_worker.jobs')
    .where({ key })
    .whereNot({ id })
    .whereRaw('attempts < max_attempts')
    .first('id')
  if (newer !== undefined) return
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  const { now } = await trx.select(trx.raw('now() as now')).first<{ now: Date }>()
  await addJob(trx, name, parsePayload(name, job, payload), {
    ...(key === null ? {} : { jobKey: key }),
    runAt: new Date(now.getTime() + waitSeconds * 1000),
    ...(flag === undefined ? {} : { flag }),
  })
}

/** Makes parked jobs with a flag due now. Returns their number. */
export async function resumeParkedJobs(trx: Tx, flag: string): Promise<number> {
  const { rows } = await trx.raw<{ rows: unknown[] }>(
    `select from graphile_worker.reschedule_jobs(array(
       select id from graphile_worker.jobs
       where jsonb_exists(flags, ?) and locked_at is null and run_at > now()), run_at => now())`,
    [flag],
  )
  if (rows.length > 0) await wakeJobWorkers(trx)
  return rows.length
}

/**
 * Postgres channel on which workers wait for jobs. A message names the lane of one new job; empty: of several.
 * The notifications of graphile-worker do not say which workers may take the job.
 */
export const JOB_CHANNEL = 'sponsor_vouchers_jobs'

/** Makes the workers of all lanes look for jobs now, and not at their next poll. */
export async function wakeJobWorkers(trx: Tx): Promise<void> {
  await trx.raw(`select pg_notify('${JOB_CHANNEL}', '')`)
}

/**
 * A query for a job that waits for an attempt or runs, for `not exists`: a sweep skips rows that have one,
 * so that rows which fail repeatedly do not block the others.
 *
 * @param key SQL for the job's key (see job-catalogue.ts).
 */
export function pendingJob(trx: Tx, key: string): Knex.QueryBuilder {
  return trx('graphile_worker.jobs as j')
    .whereRaw(`j.key = ${key}`)
    .whereRaw('(j.attempts < j.max_attempts or j.locked_at is not null)')
}

/**
 * Waits for the sweeps of other processes until they commit; later ones wait for the caller. Each added job locks its
 * key until then, so two sweeps that add the same jobs in different orders would deadlock.
 */
export async function sweepAlone(trx: Tx): Promise<void> {
  await trx.raw(`select pg_advisory_xact_lock(hashtext('sweep'))`)
}

// Staff may look at failed jobs for two weeks.
const FAILED_JOB_DAYS = 14

/** Deletes jobs that failed on their last attempt more than 14 days ago. @returns their number. */
export async function deleteFailedJobs(db: Db): Promise<number> {
  const { rows } = await db.raw<{ rows: unknown[] }>(
    `select from graphile_worker.complete_jobs(array(
       select id from graphile_worker.jobs
       where attempts >= max_attempts and locked_at is null
         and updated_at < now() - make_interval(days => ?)
       limit ?))`,
    [FAILED_JOB_DAYS, DELETE_BATCH_SIZE],
  )
  return rows.length
}

/** The number of jobs by name and state, for the metrics. */
export async function countJobs(trx: Tx): Promise<{ job: string; state: string; count: number }[]> {
  // A job at its last attempt without an error was replaced while a worker that died ran it.
  const { rows } = await trx.raw<{ rows: { job: string; state: string; count: number }[] }>(`
    select task_identifier as job, count(*),
      case when locked_at is not null then 'running'
           when attempts >= max_attempts then 'failed'
           when run_at > now() then 'scheduled'
           else 'ready' end as state
    from graphile_worker.jobs
    where locked_at is not null or attempts < max_attempts or last_error is not null
    group by job, state`)
  return rows
}

import type { TaskList } from 'graphile-worker'
import { z } from 'zod'
import type { Logger } from '../shared/logger.ts'
import type { JobOutcome, ServiceMetrics } from '../shared/service-metrics.ts'
import {
  attributesOf,
  currentWork,
  runTraced,
  type Subject,
  type Tracer,
} from '../shared/work-context.ts'
import {
  JOBS,
  type JobDefinition,
  type JobName,
  type JobPayload,
  parsePayload,
} from './job-catalogue.ts'
import { type RunningJob, traceparentOf } from './job-queue.ts'
import type { JobShare, JobShares } from './job-shares.ts'

type JobContext = {
  /** The same in every attempt: a later attempt begins only after the earlier one lost its lock. */
  jobId: string
  /** 1 for the first attempt. */
  attempt: number
  isLastAttempt: boolean
  /** Aborts when the process cannot wait longer for the job. */
  signal: AbortSignal
}

/**
 * Runs one job. It may run twice, even at the same time, because a worker that looks dead may still be
 * alive. So it locks the rows that it changes, decides from what it finds there, and is a no-op the
 * second time. If it throws, the job is retried later.
 */
export type JobHandler<Name extends JobName> = (
  payload: JobPayload<Name>,
  context: JobContext,
) => Promise<void>

export type JobBinding = {
  name: JobName
  run: (payload: unknown, context: JobContext) => Promise<void>
}

export type JobRegistry = ReadonlyMap<JobName, JobBinding['run']>

/** Binds a job of the catalogue to its handler. */
export function handle<Name extends JobName>(name: Name, handler: JobHandler<Name>): JobBinding {
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  return {
    name,
    run: async (payload, context) => handler(parsePayload(name, job, payload), context),
  }
}

/**
 * Collects the handlers of all jobs.
 *
 * @throws Error when a job of the catalogue has no handler, or two.
 */
export function createJobRegistry(bindings: readonly JobBinding[]): JobRegistry {
  const registry = new Map<JobName, JobBinding['run']>()
  for (const { name, run } of bindings) {
    if (registry.has(name)) throw new Error(`Job ${name} has two handlers`)
    registry.set(name, run)
  }
  const missing = Object.keys(JOBS).filter((name) => !registry.has(name as JobName))
  if (missing.length > 0) throw new Error(`No handler for job ${missing.join(', ')}`)
  return registry
}

/**
 * Decides about a job that failed `elapsedSeconds` after its start. True: the job was put back into the
 * queue and this failure does not count as an attempt.
 */
export type ParkFailedJob = (
  job: RunningJob,
  error: unknown,
  elapsedSeconds: number,
) => Promise<boolean>

/** Limits the jobs of a share. */
export type ShareLimit = {
  shares: JobShares
  /** Puts a job back into the queue without using up an attempt, because its share is used up. */
  putBack: (job: RunningJob) => Promise<void>
}

/**
 * The registry in the form of graphile-worker, with logs, metrics and a trace for every run.
 *
 * @param deps.park absent: every failure counts as an attempt.
 * @param deps.limit absent: the number of workers is the only limit.
 */
export function toTaskList(
  registry: JobRegistry,
  deps: {
    logger: Logger
    metrics: ServiceMetrics
    park?: ParkFailedJob
    limit?: ShareLimit
    tracer?: Tracer | null
  },
): TaskList {
  const tasks: TaskList = {}
  for (const [name, run] of registry) {
    tasks[name] = async (payload, { job, abortSignal }) => {
      const context = {
        jobId: job.id,
        attempt: job.attempts,
        isLastAttempt: job.attempts >= job.max_attempts,
        signal: abortSignal,
      }
      const subject = subjectOf(name, job.id, payload)
      const span =
        deps.tracer?.begin({
          name: `job ${name}`,
          kind: 'consumer',
          attributes: { ...attributesOf(subject), 'sponsor_vouchers.attempt': job.attempts },
          parent: traceparentOf(job),
        }) ?? null
      const running = { id: job.id, name, key: job.key, payload }
      await runTraced({ subject, span }, () =>
        runOnce(deps, running, context, () => run(payload, context)),
      )
    }
  }
  return tasks
}

/** The ids in a job's payload. */
function subjectOf(job: JobName, id: string, payload: unknown): Subject {
  const { conference_id, purchase_id } = ids.safeParse(payload).data ?? {}
  return {
    job,
    job_id: id,
    ...(conference_id === undefined ? {} : { conference: conference_id }),
    ...(purchase_id === undefined ? {} : { purchase: purchase_id }),
  }
}

const ids = z.looseObject({
  conference_id: z.string().optional(),
  purchase_id: z.string().optional(),
})

/** One attempt. @throws the error of a failed attempt that counts. */
async function runOnce(
  { logger, metrics, park, limit }: Parameters<typeof toTaskList>[1],
  job: RunningJob,
  { attempt, isLastAttempt }: JobContext,
  run: () => Promise<void>,
): Promise<void> {
  const begun = performance.now()
  const report = (outcome: JobOutcome) => {
    metrics.jobRun(job.name, outcome, (performance.now() - begun) / 1000)
    currentWork()?.span?.set({ 'sponsor_vouchers.outcome': outcome })
  }
  try {
    if (!(await runInShare(limit, job, run))) return report('parked')
    report('done')
    logger.debug({ attempt, ms: Math.round(performance.now() - begun) }, 'job done')
  } catch (err) {
    const elapsedSeconds = (performance.now() - begun) / 1000
    if (await isParked(park?.(job, err, elapsedSeconds), logger)) {
      report('parked')
      logger.info({ attempt, err }, 'job is parked; this failure does not count as an attempt')
      return
    }
    report(isLastAttempt ? 'failed' : 'retried')
    if (isLastAttempt) logger.error({ attempt, err }, 'job failed on its last attempt')
    else logger.warn({ attempt, err }, 'job failed and will be retried')
    throw err
  }
}

/**
 * Runs a job, unless its share is used up. Workers skip such jobs, but several workers may take jobs of
 * one share at the same moment. Then the job is put back, and the result is false.
 */
async function runInShare(
  limit: ShareLimit | undefined,
  job: RunningJob,
  run: () => Promise<void>,
): Promise<boolean> {
  const share = shareOf(job)
  if (limit === undefined || share === undefined) {
    await run()
    return true
  }
  if (!limit.shares.begin(share)) {
    await limit.putBack(job)
    return false
  }
  try {
    await run()
  } finally {
    limit.shares.end(share)
  }
  return true
}

function shareOf<Name extends JobName>({ name, payload }: RunningJob<Name>): JobShare | undefined {
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  return job.share?.(parsePayload(name, job, payload))
}

/** False also when parking fails: then the failure counts, and graphile-worker keeps the job. */
async function isParked(parking: Promise<boolean> | undefined, logger: Logger): Promise<boolean> {
  try {
    return (await parking) ?? false
  } catch (err) {
    logger.warn({ err }, 'could not park the job')
    return false
  }
}

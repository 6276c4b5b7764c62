import { type JobDefinition, openPayload } from './define-job.ts'
import { JOBS, type JobName, type JobPayload } from './job-catalogue.ts'

export type JobContext = {
  /** 1 for the first try. */
  attempt: number
  isLastAttempt: boolean
  /** Aborts when the process cannot wait for the job any longer. */
  signal: AbortSignal
}

/**
 * Does the work. It may run twice, even at the same time (a worker that was thought dead may still
 * live), so it locks what it changes, decides from what it finds there, and does nothing the second
 * time. Throwing means "again later".
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

/** Binds a job of the catalogue to what runs it. */
export function handle<Name extends JobName>(name: Name, handler: JobHandler<Name>): JobBinding {
  const job: JobDefinition<JobPayload<Name>> = JOBS[name]
  return {
    name,
    run: async (payload, context) => handler(openPayload(name, job, payload), context),
  }
}

/**
 * The one list of what this process can run.
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

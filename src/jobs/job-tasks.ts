import type { TaskList } from 'graphile-worker'
import type { Logger } from '../shared/logger.ts'
import type { JobOutcome, ServiceMetrics } from '../shared/service-metrics.ts'
import type { JobContext, JobRegistry } from './job-registry.ts'

/** The registry as graphile-worker takes it, with every run logged and measured. */
export function toTaskList(
  registry: JobRegistry,
  deps: { logger: Logger; metrics: ServiceMetrics },
): TaskList {
  const tasks: TaskList = {}
  for (const [name, run] of registry) {
    tasks[name] = async (payload, { job, abortSignal }) => {
      const context = {
        attempt: job.attempts,
        isLastAttempt: job.attempts >= job.max_attempts,
        signal: abortSignal,
      }
      const logger = deps.logger.child({ job: name, job_id: job.id, attempt: job.attempts })
      const begun = performance.now()
      const report = (outcome: JobOutcome) =>
        deps.metrics.jobRun(name, outcome, (performance.now() - begun) / 1000)
      try {
        await run(payload, context)
        report('done')
        logger.debug({ ms: Math.round(performance.now() - begun) }, 'job done')
      } catch (err) {
        report(context.isLastAttempt ? 'failed' : 'retried')
        logFailure(logger, context, err)
        throw err
      }
    }
  }
  return tasks
}

function logFailure(logger: Logger, { isLastAttempt }: JobContext, err: unknown): void {
  if (isLastAttempt) logger.error({ err }, 'job failed for good')
  else logger.warn({ err }, 'job failed and will be tried again')
}

import { JOBS, type JobName } from '../../src/jobs/job-catalogue.ts'
import { handle, type JobBinding, type JobHandler } from '../../src/jobs/job-registry.ts'
import { createLogger } from '../../src/shared/logger.ts'

type Handlers = { [Name in JobName]?: JobHandler<Name> }

/** A handler for each job: the given ones, and no-ops for the others. */
export function everyHandler(handlers: Handlers = {}): JobBinding[] {
  const bind = <Name extends JobName>(name: Name) =>
    handle(name, handlers[name] ?? (async () => {}))
  return Object.keys(JOBS).map((name) => bind(name as JobName))
}

export const silent = createLogger('silent')

import { Logger as GraphileLogger } from 'graphile-worker'
import type { Logger } from '../shared/logger.ts'

const LEVELS = { error: 'error', warning: 'warn', info: 'debug', debug: 'trace' } as const

/**
 * graphile-worker's log in ours, a level lower: that a job ran is no news. Its metadata stays out,
 * since it carries whole jobs with their payloads; and so do failures of a job, which job-tasks.ts
 * logs itself.
 */
export function bridgeGraphileLogger(logger: Logger): GraphileLogger {
  return new GraphileLogger(() => (level, message, meta) => {
    if (meta?.['failure'] !== true) logger[LEVELS[level]]({ from: 'graphile-worker' }, message)
  })
}

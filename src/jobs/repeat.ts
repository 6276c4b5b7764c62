import type { Logger } from '../shared/logger.ts'

export type Repeated = {
  /** Runs the work as soon as possible, without waiting for the interval. */
  soon(): void
  /** Ends the repetition and waits for the current run. May be called again. */
  stop(): Promise<void>
}

/**
 * Runs `work` repeatedly, `everyMs` after the previous run ended, until stopped. Failures do not stop
 * it. Only the first failure and the recovery are logged, so that a long outage of the database does
 * not fill the log.
 */
export function repeat(options: {
  /** The name of the work in the log. */
  what: string
  everyMs: number
  logger: Logger
  work: () => Promise<void>
}): Repeated {
  const { what, everyMs, logger, work } = options
  let stopped = false
  let failing = false
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | null = null
  let wanted = false

  async function run(): Promise<void> {
    try {
      await work()
      if (failing) logger.info({ what }, 'recovered')
      failing = false
    } catch (err) {
      if (failing) logger.debug({ what, err }, 'still fails')
      else logger.warn({ what, err }, 'failed and will be retried')
      failing = true
    }
  }

  function schedule(ms: number): void {
    clearTimeout(timer)
    timer = setTimeout(begin, ms)
  }

  function begin(): void {
    wanted = false
    running = run().finally(() => {
      running = null
      if (!stopped) schedule(wanted ? 0 : everyMs)
    })
  }

  schedule(0)
  return {
    soon() {
      wanted = true
      if (!stopped && running === null) schedule(0)
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}

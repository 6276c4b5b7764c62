import type { Logger } from '../shared/logger.ts'

export type Repeated = {
  /** Runs the work as soon as possible instead of waiting for its time. */
  soon(): void
  /** Ends the repetition and waits for the run that is under way. May be called again. */
  stop(): Promise<void>
}

/**
 * Does `work` again and again, `everyMs` after the last one ended, until stopped. A failure is not
 * the end: it is logged once, and so is the recovery, since a database that is away for an hour must
 * not fill the log.
 */
export function repeat(options: {
  /** What fails, in the log. */
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
      if (failing) logger.info({ what }, 'works again')
      failing = false
    } catch (err) {
      if (failing) logger.debug({ what, err }, 'still fails')
      else logger.warn({ what, err }, 'failed, and will be tried again')
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

import type { Logger } from '../shared/logger.ts'
import { errorText } from '../stripe/stripe-errors.ts'

/** The longest time that a caller waits. A statement usually takes a millisecond or two. */
const TIMEOUT_MS = 1_000

/** Runs optional work that must not fail or delay its caller. */
export type BestEffortQueue = {
  /**
   * Resolves with the result of `work`. Resolves with undefined, and logs a warning, when the work
   * fails, does not end in time, or is skipped. Never rejects.
   */
  run<T>(what: string, work: () => Promise<T>): Promise<T | undefined>
}

/**
 * Runs one task at a time, so a locked table blocks one connection of the pool and not all of them.
 * While a task is overdue, new tasks are skipped.
 */
export function createBestEffortQueue(
  logger: Pick<Logger, 'warn'>,
  timeoutMs: number = TIMEOUT_MS,
): BestEffortQueue {
  let tail: Promise<unknown> = Promise.resolve()
  let startedAt: number | null = null

  const isOverdue = () => startedAt !== null && performance.now() - startedAt > timeoutMs

  function skip(what: string, error: string): undefined {
    logger.warn({ what, error }, 'best-effort work skipped')
  }

  return {
    async run(what, work) {
      if (isOverdue()) return skip(what, 'an earlier task is overdue')
      let isSkipped = false
      const turn = tail.then(async () => {
        if (isSkipped) return undefined
        startedAt = performance.now()
        try {
          return await work()
        } catch (error) {
          return skip(what, errorText(error))
        } finally {
          startedAt = null
        }
      })
      tail = turn
      let timer: NodeJS.Timeout | undefined
      const timeout = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => {
          isSkipped = true
          resolve(skip(what, `not done after ${timeoutMs} ms`))
        }, timeoutMs)
      })
      return Promise.race([turn, timeout]).finally(() => clearTimeout(timer))
    },
  }
}

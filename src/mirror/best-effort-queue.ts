import type { Logger } from '../shared/logger.ts'
import { errorText } from '../stripe/error-text.ts'

/** How long anybody waits for work on the side. A statement takes a millisecond or two. */
const TIMEOUT_MS = 1_000

/** Work that somebody profits from but nobody depends on. */
export type BestEffortQueue = {
  /**
   * Resolves with what `work` returned, or with undefined when it failed, was not done in time or
   * was not even begun. Never rejects.
   */
  run<T>(what: string, work: () => Promise<T>): Promise<T | undefined>
}

/**
 * Does work on the side, one thing at a time: when its table is locked it holds one connection of
 * the pool and not all of them. While one is overdue the others are left out at once.
 */
export function createBestEffortQueue(logger: Pick<Logger, 'warn'>): BestEffortQueue {
  let tail: Promise<unknown> = Promise.resolve()
  let begunAt: number | null = null

  const isStuck = () => begunAt !== null && performance.now() - begunAt > TIMEOUT_MS

  function tell(what: string, error: string): undefined {
    logger.warn({ what, error }, 'left undone, nobody depends on it')
  }

  return {
    async run(what, work) {
      if (isStuck()) return tell(what, 'something before it is still not done')
      let givenUp = false
      const turn = tail.then(async () => {
        if (givenUp) return undefined
        begunAt = performance.now()
        try {
          return await work()
        } catch (error) {
          return tell(what, errorText(error))
        } finally {
          begunAt = null
        }
      })
      tail = turn
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => {
          givenUp = true
          resolve(tell(what, `not done after ${TIMEOUT_MS} ms`))
        }, TIMEOUT_MS)
      })
      return Promise.race([turn, late]).finally(() => clearTimeout(timer))
    },
  }
}

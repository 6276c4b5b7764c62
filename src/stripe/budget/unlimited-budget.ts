import { setTimeout } from 'node:timers/promises'
import type { RequestBudget } from './request-budget.ts'

/** No limit and no statements; a pause is known to this process only. */
export function createUnlimitedBudget(): RequestBudget {
  const pausedUntil = new Map<string, number>()
  const left = (accountKey: string) => (pausedUntil.get(accountKey) ?? 0) - performance.now()

  return {
    async take(accountKey, signal) {
      signal?.throwIfAborted()
      for (let ms = left(accountKey); ms > 0; ms = left(accountKey)) {
        await setTimeout(ms, undefined, signal === undefined ? {} : { signal }).catch((error) => {
          throw signal?.aborted ? signal.reason : error
        })
      }
    },
    note() {},
    async pause(accountKey, seconds) {
      const until = performance.now() + seconds * 1000
      pausedUntil.set(accountKey, Math.max(until, pausedUntil.get(accountKey) ?? 0))
    },
  }
}

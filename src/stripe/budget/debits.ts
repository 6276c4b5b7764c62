import { setTimeout } from 'node:timers/promises'
import type { Logger } from '../../shared/logger.ts'
import type { BudgetStore } from './budget-store.ts'

/** Notes within this time share one statement, so that busy tills cost ten commits a second. */
const COLLECT_MS = 100

/** Counts a request that went out; at once, and the database hears of it a little later. */
export function createDebits(
  store: Pick<BudgetStore, 'debit'>,
  logger: Pick<Logger, 'debug'>,
): (accountKey: string) => void {
  const counts = new Map<string, number>()
  let running = false

  async function run(): Promise<void> {
    running = true
    while (counts.size > 0) {
      // A process that ends need not wait for it.
      await setTimeout(COLLECT_MS, undefined, { ref: false })
      const collected = [...counts]
      counts.clear()
      for (const [accountKey, count] of collected) await debit(accountKey, count)
    }
    running = false
  }

  async function debit(accountKey: string, count: number): Promise<void> {
    try {
      await store.debit(accountKey, count)
    } catch (err) {
      // Not kept for later: by then Stripe has forgotten these requests as well.
      logger.debug({ err }, 'requests to Stripe were not debited')
    }
  }

  return (accountKey) => {
    counts.set(accountKey, (counts.get(accountKey) ?? 0) + 1)
    if (!running) void run()
  }
}

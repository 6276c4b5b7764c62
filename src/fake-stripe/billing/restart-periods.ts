import { changeRow } from '../core/change-row.ts'
import type { Scope } from '../core/scope.ts'
import { changeSubscription, itemsOf, subscriptionItems } from '../objects/subscription.ts'
import { periodEnd } from './periods.ts'

/** All items begin a new period now, and the following ones are counted from here. */
export function restartPeriods(scope: Scope, id: string, now: number) {
  for (const item of itemsOf(scope, id)) {
    const interval = item.price.recurring ?? { interval: 'month', interval_count: 1 }
    changeRow(scope, subscriptionItems, item.id, {
      current_period_start: now,
      current_period_end: periodEnd(now, interval),
    })
  }
  return changeSubscription(scope, id, { billing_cycle_anchor: now })
}

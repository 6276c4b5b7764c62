import type { Call } from '../api/resource.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { refused } from '../core/stripe-error.ts'
import { itemsOf, subscriptions, type WireSubscription } from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import { billSubscription, setStatus } from './bill-subscription.ts'
import { restartPeriods } from './restart-periods.ts'
import { paused } from './subscription-due.ts'

const PAUSABLE = ['active', 'past_due', 'trialing', 'unpaid']

/**
 * No invoices and no new periods until the subscription is resumed.
 *
 * @throws StripeError unless it is under way.
 */
export function pauseSubscription(call: Call, id: string): WireSubscription {
  const before = requireRow(call, subscriptions, id)
  if (!PAUSABLE.includes(before.status)) throw wrongStatus(before, 'paused', PAUSABLE)
  const at = nowBy(call, idOf(before.test_clock))
  return setStatus(call, id, 'paused', { status_details: paused('pause_requested', at) })
}

/**
 * Goes on where it was paused or, when that period is over, with a new one that is paid for first:
 * until then the subscription stays paused.
 *
 * @throws StripeError unless it is paused.
 * @see https://docs.stripe.com/api/subscriptions/resume
 */
export function resumeSubscription(call: Call, id: string): WireSubscription {
  const before = requireRow(call, subscriptions, id)
  if (before.status !== 'paused') throw wrongStatus(before, 'resumed', ['paused'])
  const now = nowBy(call, idOf(before.test_clock))
  if (itemsOf(call, id).every((item) => item.current_period_end > now))
    return setStatus(call, id, 'active')
  emitEvent(call, 'customer.subscription.updated', restartPeriods(call, id, now), before)
  const items = itemsOf(call, id)
  billSubscription(call, id, { reason: 'subscription_update', items, decline: call.decline })
  return requireRow(call, subscriptions, id)
}

function wrongStatus({ status }: WireSubscription, what: string, allowed: readonly string[]) {
  return refused(
    `Only subscriptions with the status ${allowed.join(', ')} can be ${what}; this one is ${status}.`,
  )
}

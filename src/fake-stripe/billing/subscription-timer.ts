import type { Cancel } from '../core/fake-clock.ts'
import { idOf } from '../core/reference.ts'
import { OWN_MOTION, type Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import { itemsOf, subscriptions, type WireSubscription } from '../objects/subscription.ts'
import { runAt } from '../objects/test-clock.ts'

/** What the fake remembers beside a subscription. */
export type SubscriptionPlan = {
  id: string
  /** Does what has fallen due. */
  onDue: (scope: Scope) => void
  /** Takes the next moment off the clock. */
  cancel: Cancel
  /** Whether the end of the trial was announced. */
  warned: boolean
  /** While it is being made nobody is told of changes. */
  quiet: boolean
}

export const subscriptionPlans = defineTable<SubscriptionPlan>('subscription.plan', {
  hidden: true,
})

const DAY = 24 * 60 * 60
export const PAYMENT_WINDOW = 23 * 60 * 60
export const TRIAL_WARNING = 3 * DAY

/** Puts the next moment at which something happens to a subscription on its clock. */
export function reschedule(scope: Scope, id: string): void {
  const plan = scope.account.rows(subscriptionPlans).get(id)
  const subscription = scope.account.rows(subscriptions).get(id)
  if (plan === undefined || subscription === undefined) return
  plan.cancel()
  const due = nextMoment(scope, subscription, plan.warned)
  const cancel =
    due === null
      ? () => {}
      : runAt(scope, idOf(subscription.test_clock), due, () =>
          plan.onDue({ ...scope, cause: OWN_MOTION }),
        )
  scope.account.rows(subscriptionPlans).replace({ ...plan, cancel })
}

/** Seconds since 1970; null when nothing will happen by itself. */
function nextMoment(scope: Scope, subscription: WireSubscription, warned: boolean): number | null {
  const { status, created, cancel_at: cancelAt, trial_end: trialEnd } = subscription
  if (status === 'incomplete') return created + PAYMENT_WINDOW
  if (!['active', 'past_due', 'trialing'].includes(status)) return null
  const moments = itemsOf(scope, subscription.id).map((item) => item.current_period_end)
  if (cancelAt !== null) moments.push(cancelAt)
  if (status === 'trialing' && !warned && trialEnd !== null) moments.push(trialEnd - TRIAL_WARNING)
  return moments.length === 0 ? null : Math.min(...moments)
}

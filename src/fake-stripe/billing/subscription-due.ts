import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import {
  changeSubscription,
  itemsOf,
  subscriptionItems,
  subscriptions,
  type WireSubscription,
} from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import { billSubscription, setStatus } from './bill-subscription.ts'
import { cancelSubscription, expireSubscription } from './cancel-subscription.ts'
import { customerDefaults, firstMethod } from './pay-invoice.ts'
import { nextPeriodEnd } from './periods.ts'
import {
  PAYMENT_WINDOW,
  reschedule,
  subscriptionPlans,
  TRIAL_WARNING,
} from './subscription-timer.ts'

/** What has fallen due by the subscription's clock: expiry, cancellation, trial end, renewal. */
export function subscriptionDue(scope: Scope, id: string): void {
  const subscription = scope.account.rows(subscriptions).get(id)
  if (subscription === undefined) return
  const now = nowBy(scope, idOf(subscription.test_clock))
  const { status, created, cancel_at: cancelAt, trial_end: trialEnd } = subscription
  if (status === 'incomplete') {
    if (now >= created + PAYMENT_WINDOW) expireSubscription(scope, id)
    return
  }
  if (cancelAt !== null && now >= cancelAt) {
    cancelSubscription(scope, id)
    return
  }
  if (status === 'trialing' && trialEnd !== null && now >= trialEnd - TRIAL_WARNING)
    warnOfTrialEnd(scope, subscription)
  if (itemsOf(scope, id).some((item) => item.current_period_end <= now))
    renew(scope, subscription, now)
  reschedule(scope, id)
}

/** Three days before a trial ends, or at once when fewer are left; only once. */
export function warnOfTrialEnd(scope: Scope, subscription: WireSubscription): void {
  const plan = scope.account.rows(subscriptionPlans).get(subscription.id)
  if (plan === undefined || plan.warned) return
  scope.account.rows(subscriptionPlans).replace({ ...plan, warned: true })
  emitEvent(scope, 'customer.subscription.trial_will_end', subscription)
}

function renew(scope: Scope, subscription: WireSubscription, now: number): void {
  const { id, status } = subscription
  if (status === 'trialing' && endsWithoutMethod(scope, subscription)) return
  const { items, after } = beginPeriods(scope, subscription, now)
  if (status === 'trialing') setStatus(scope, id, 'active')
  else emitEvent(scope, 'customer.subscription.updated', after, subscription)
  billSubscription(scope, id, { reason: 'subscription_cycle', items })
}

/** Moves the items whose period is over into their next one. */
function beginPeriods(scope: Scope, subscription: WireSubscription, now: number) {
  const { id, billing_cycle_anchor: anchor } = subscription
  const items = itemsOf(scope, id)
    .filter((item) => item.current_period_end <= now)
    .map((item) => {
      const interval = item.price.recurring ?? { interval: 'month', interval_count: 1 }
      const start = item.current_period_end
      return changeRow(scope, subscriptionItems, item.id, {
        current_period_start: start,
        current_period_end: nextPeriodEnd(anchor, interval, start),
      })
    })
  return { items, after: changeSubscription(scope, id, {}) }
}

/** @returns whether the trial's end has ended or paused the subscription. */
function endsWithoutMethod(scope: Scope, subscription: WireSubscription): boolean {
  const behavior = subscription.trial_settings?.end_behavior.missing_payment_method
  const method = firstMethod(scope, [
    subscription.default_payment_method,
    subscription.default_source,
    ...customerDefaults(scope, idOf(subscription.customer)),
  ])
  if (method !== undefined || subscription.collection_method === 'send_invoice') return false
  if (behavior === 'cancel') cancelSubscription(scope, subscription.id)
  else if (behavior === 'pause')
    setStatus(scope, subscription.id, 'paused', {
      status_details: paused('trial_end_without_payment_method', subscription.trial_end ?? 0),
    })
  else return false
  return true
}

export function paused(type: string, at: number) {
  return {
    paused: { subscription: { type }, transitioned_at: at, type: 'subscription' },
  }
}

import type Stripe from 'stripe'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { subscriptions, type WireSubscription } from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import { setStatus } from './bill-subscription.ts'
import { cancelSubscription } from './cancel-subscription.ts'
import { paused } from './subscription-due.ts'

export const SUBSCRIPTION_STATUSES = [
  'active',
  'canceled',
  'incomplete',
  'incomplete_expired',
  'past_due',
  'paused',
  'trialing',
  'unpaid',
] as const

export type SubscriptionStatus = (typeof SUBSCRIPTION_STATUSES)[number]

const TRIAL = 14 * 24 * 60 * 60

/** Puts a subscription into any state, whatever led there, with the events that tell of it. */
export function setSubscriptionStatus(
  scope: Scope,
  id: string,
  status: SubscriptionStatus,
): WireSubscription {
  const before = requireRow(scope, subscriptions, id)
  if (status === 'canceled') return cancelSubscription(scope, id)
  return setStatus(
    scope,
    id,
    status,
    fieldsOf(before, status, nowBy(scope, idOf(before.test_clock))),
  )
}

function fieldsOf(
  before: WireSubscription,
  status: Stripe.Subscription.Status,
  now: number,
): Partial<WireSubscription> {
  if (status === 'paused') return { status_details: paused('pause_requested', now) }
  if (status === 'incomplete_expired') return { ended_at: now }
  const ended = { ended_at: null, ...(before.ended_at === null ? {} : { canceled_at: null }) }
  if (status !== 'trialing' || (before.trial_end ?? 0) > now) return ended
  return { ...ended, trial_start: now, trial_end: now + TRIAL }
}

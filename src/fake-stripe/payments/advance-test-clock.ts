import type Stripe from 'stripe'
import { ENDED } from '../billing/cancel-subscription.ts'
import { periodEnd } from '../billing/periods.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { OWN_MOTION, type Scope } from '../core/scope.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import { itemsOf, subscriptions } from '../objects/subscription.ts'
import { runUntil, testClocks } from '../objects/test-clock.ts'

const TWO_YEARS = 2 * 366 * 24 * 60 * 60
const YEARLY = { interval: 'year', interval_count: 1 }

/**
 * Moves a test clock on. The answer says `advancing`, as at Stripe, where it takes a while; here
 * everything has happened when the caller reads the clock again.
 *
 * @param target seconds since 1970.
 * @throws StripeError when that is not later, or more than two intervals of the shortest
 *   subscription off; two years where there is none.
 * @see https://docs.stripe.com/api/test_clocks/advance
 */
export function advanceTestClock(
  scope: Scope,
  id: string,
  target: number,
): Stripe.TestHelpers.TestClock {
  const before = requireRow(scope, testClocks, id)
  if (target <= before.frozen_time)
    throw invalidParameter(
      'frozen_time',
      `The frozen_time must be after the test clock's current frozen time (${before.frozen_time}).`,
    )
  const furthest = furthestTime(scope, before)
  if (target > furthest)
    throw invalidParameter(
      'frozen_time',
      `The frozen_time cannot be more than two intervals of the shortest subscription, or two years without one, in the future (${furthest}).`,
    )
  const advancing = changeRow(scope, testClocks, id, {
    status: 'advancing',
    status_details: { advancing: { target_frozen_time: target } },
  })
  emitEvent(scope, 'test_helpers.test_clock.advancing', advancing, before)
  runUntil(scope, id, target)
  const ready = changeRow(scope, testClocks, id, { status: 'ready', status_details: {} })
  emitEvent({ ...scope, cause: OWN_MOTION }, 'test_helpers.test_clock.ready', ready, advancing)
  return advancing
}

function furthestTime(scope: Scope, clock: Stripe.TestHelpers.TestClock): number {
  const now = clock.frozen_time
  const running = scope.account
    .rows(subscriptions)
    .all((row) => idOf(row.test_clock) === clock.id && !ENDED.includes(row.status))
  const items = running.flatMap(({ id }) => itemsOf(scope, id))
  const limits = items.map(({ price }) => periodEnd(now, price.recurring ?? YEARLY, 2))
  return Math.min(...limits, now + TWO_YEARS)
}

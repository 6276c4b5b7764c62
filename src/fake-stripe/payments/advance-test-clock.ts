import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { requireRow } from '../core/require-row.ts'
import { OWN_MOTION, type Scope } from '../core/scope.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import { runUntil, testClocks } from '../objects/test-clock.ts'

const TWO_YEARS = 2 * 366 * 24 * 60 * 60

/**
 * Moves a test clock on. The answer says `advancing`, as at Stripe, where it takes a while; here
 * everything has happened when the caller reads the clock again.
 *
 * @param target seconds since 1970.
 * @throws StripeError when that is not later, or more than two years off.
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
  if (target > before.frozen_time + TWO_YEARS)
    throw invalidParameter(
      'frozen_time',
      'The frozen_time cannot be more than two years in the future.',
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

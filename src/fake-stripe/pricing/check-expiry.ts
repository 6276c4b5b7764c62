import type { Scope } from '../core/scope.ts'
import { invalidParameter } from '../core/stripe-error.ts'

const FIVE_YEARS_SECONDS = 5 * 365 * 24 * 60 * 60

/**
 * Coupons and promotion codes end in the future, within five years.
 *
 * @param at seconds since 1970; undefined: never.
 * @throws StripeError when it does not.
 */
export function checkExpiry({ world }: Scope, param: string, at: number | undefined): void {
  if (at === undefined) return
  const now = world.clock.seconds()
  if (at <= now)
    throw invalidParameter(
      param,
      `The parameter \`${param}\` expects a unix timestamp representing a date and time in the future. You specified the value \`${at}\` which is in the past.`,
    )
  if (at - now > FIVE_YEARS_SECONDS)
    throw invalidParameter(
      param,
      'Invalid timestamp: can be no more than five years in the future.',
    )
}

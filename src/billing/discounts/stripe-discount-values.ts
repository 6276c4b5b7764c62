import { toStripeAmount } from '../../shared/money.ts'

// https://docs.stripe.com/api/coupons/create: "cannot be set to more than 5 years in the future"
const FIVE_YEARS_MS = 5 * 365 * 24 * 3_600_000

/** Why a coupon or promotion code cannot end at this time, or null. Stripe uses whole seconds. */
export function endProblem(end: Date, now: Date): string | null {
  if (Math.floor(end.getTime() / 1000) * 1000 <= now.getTime()) return 'must be in the future'
  return end.getTime() - now.getTime() > FIVE_YEARS_MS
    ? "must be within five years, which is Stripe's limit"
    : null
}

export const toUnixSeconds = (moment: Date) => Math.floor(moment.getTime() / 1000)

/** An amount in our minor units and upper-case currency, in Stripe's format. */
export function toStripeMoney(amount: number, currency: string) {
  return { amount: toStripeAmount(amount, currency), currency: currency.toLowerCase() }
}

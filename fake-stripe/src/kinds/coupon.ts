import type Stripe from 'stripe'
import { invalidParameter } from '../core/errors.ts'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

export const coupons = defineTable<Stripe.Coupon>('coupon')

/** Fields of a coupon that are shown only when they are expanded. */
export type CouponExtras = {
  id: string
  products: string[] | null
  /** The amounts in further currencies. */
  currencyOptions: Record<string, Stripe.Coupon.CurrencyOptions>
}

export const couponExtras = defineTable<CouponExtras>('coupon.extras', { hidden: true })

export type CouponFields = Partial<Omit<Stripe.Coupon, 'object' | 'livemode'>>

/** Builds a coupon; its default duration is `once`. */
export function buildCoupon({ account, world }: Scope, fields: CouponFields): Stripe.Coupon {
  return {
    id: fakeId('', 8), // the only kind without a prefix
    object: 'coupon',
    amount_off: null,
    created: world.clock.seconds(),
    currency: null,
    duration: 'once',
    duration_in_months: null,
    livemode: account.livemode,
    max_redemptions: null,
    metadata: {},
    name: null,
    percent_off: null,
    redeem_by: null,
    times_redeemed: 0,
    valid: true,
    ...fields,
  }
}

/** The coupon's amounts in all its currencies, its own first; undefined for a percentage. */
export function couponCurrencies({ account }: Scope, id: string) {
  const coupon = account.rows(coupons).get(id)
  if (coupon === undefined || coupon.amount_off === null || coupon.currency === null)
    return undefined
  const options = account.rows(couponExtras).get(id)?.currencyOptions
  return { [coupon.currency]: { amount_off: coupon.amount_off }, ...options }
}

/** The products that the coupon applies to; undefined: all. */
export function couponProducts({ account }: Scope, id: string) {
  const products = account.rows(couponExtras).get(id)?.products
  return products ? { products } : undefined
}

const FIVE_YEARS_SECONDS = 5 * 365 * 24 * 60 * 60

/**
 * Coupons and promotion codes must end in the future, within five years.
 *
 * @param at seconds since 1970; undefined: no end.
 * @throws StripeError otherwise.
 */
export function checkDiscountExpiry({ world }: Scope, param: string, at: number | undefined): void {
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

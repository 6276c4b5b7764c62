import type Stripe from 'stripe'
import type { z } from 'zod'
import type { Resource } from '../api/operations.ts'
import { group, type ShapeOf, text } from '../api/params.ts'
import { changeRow, emitEvent } from '../core/changes.ts'
import { periodEnd } from '../core/clock.ts'
import { invalidParameter, noSuch } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { coupons } from './coupon.ts'
import { couponOf, promotionCodes } from './promotion-code.ts'

/** A coupon that was applied to a subscription, an item or an invoice. */
export const discounts = defineTable<Stripe.Discount>('discount')

/** Discounts have no endpoints; they are expanded. */
export const discountResource: Resource = {
  kind: discounts.name,
  expandable: {
    customer: { kind: 'customer' },
    promotion_code: { kind: 'promotion_code' },
  },
  operations: [],
}

/** A discount in the parameters of a subscription, an item or an invoice. */
export const discountParam = group({
  coupon: text().optional(),
  discount: text().optional(),
  promotion_code: text().optional(),
} satisfies ShapeOf<Stripe.SubscriptionCreateParams.Discount>)

export type DiscountInput = z.output<typeof discountParam>

type Target = Partial<
  Pick<Stripe.Discount, 'customer' | 'invoice' | 'subscription' | 'subscription_item'>
>

/**
 * Applies coupons or promotion codes and returns the ids of the discounts; an existing discount is
 * kept.
 *
 * @param now seconds since 1970.
 * @throws StripeError when a coupon or code does not exist or is no longer valid.
 */
export function applyDiscounts(
  scope: Scope,
  inputs: readonly DiscountInput[],
  target: Target,
  now: number,
): string[] {
  // All are found before the first discount is created.
  const found = inputs.map((input, index) => findCoupon(scope, input, `discounts[${index}]`))
  return found.map((each) =>
    typeof each === 'string' ? each : insertDiscount(scope, each, target, now),
  )
}

type Found = { coupon: Stripe.Coupon; code: Stripe.PromotionCode | undefined }

function findCoupon({ account }: Scope, input: DiscountInput, param: string): Found | string {
  const { coupon: id, discount, promotion_code: codeId } = input
  if (discount !== undefined) {
    if (account.rows(discounts).get(discount) !== undefined) return discount
    throw noSuch('discount', discount, `${param}[discount]`)
  }
  const code = codeId === undefined ? undefined : account.rows(promotionCodes).get(codeId)
  if (codeId !== undefined && code === undefined)
    throw noSuch('promotion code', codeId, `${param}[promotion_code]`)
  if (code?.active === false)
    throw invalidParameter(`${param}[promotion_code]`, 'This promotion code is inactive.')
  const couponId = id ?? (code && couponOf(code)) ?? ''
  const coupon = account.rows(coupons).get(couponId)
  if (coupon === undefined) throw noSuch('coupon', couponId, `${param}[coupon]`)
  if (coupon.valid) return { coupon, code }
  throw invalidParameter(`${param}[coupon]`, `Coupon expired: ${couponId}`, 'coupon_expired')
}

function insertDiscount(
  scope: Scope,
  { coupon, code }: Found,
  target: Target,
  now: number,
): string {
  const { duration, duration_in_months: months } = coupon
  const end =
    duration === 'repeating'
      ? periodEnd(now, { interval: 'month', interval_count: months ?? 1 })
      : null
  const discount = scope.account.rows(discounts).insert({
    id: fakeId('di_1'),
    object: 'discount',
    checkout_session: null,
    customer: null,
    customer_account: null,
    end,
    invoice: null,
    invoice_item: null,
    promotion_code: code?.id ?? null,
    source: { coupon: coupon.id, type: 'coupon' },
    start: now,
    subscription: null,
    subscription_item: null,
    ...target,
  })
  countRedemption(scope, coupon, code)
  // A discount of an invoice or an item is not a discount of the customer.
  if (target.subscription && !target.subscription_item)
    emitEvent(scope, 'customer.discount.created', discount)
  return discount.id
}

function countRedemption(
  scope: Scope,
  coupon: Stripe.Coupon,
  code: Stripe.PromotionCode | undefined,
) {
  const times = coupon.times_redeemed + 1
  const used = coupon.max_redemptions !== null && times >= coupon.max_redemptions
  changeRow(scope, coupons, coupon.id, {
    times_redeemed: times,
    ...(used ? { valid: false } : {}),
  })
  if (code !== undefined)
    changeRow(scope, promotionCodes, code.id, { times_redeemed: code.times_redeemed + 1 })
}

/** The reductions of a discount, one for each amount. */
export function discountAmounts(scope: Scope, discount: string, amounts: readonly number[]) {
  const row = scope.account.rows(discounts).get(discount)
  const coupon = scope.account.rows(coupons).get(idOf(row?.source.coupon) ?? '')
  if (coupon?.percent_off) {
    const percent = coupon.percent_off
    return amounts.map((amount) => Math.round((Math.max(amount, 0) * percent) / 100))
  }
  let left = coupon?.amount_off ?? 0
  return amounts.map((amount) => {
    const taken = Math.min(Math.max(amount, 0), left)
    left -= taken
    return taken
  })
}

/**
 * The discounts that also apply to the next invoice; those of a coupon with the duration `once` do
 * not.
 */
export function lastingDiscounts({ account }: Scope, ids: readonly string[], now: number) {
  return ids.filter((id) => {
    const row = account.rows(discounts).get(id)
    const coupon = account.rows(coupons).get(idOf(row?.source.coupon) ?? '')
    return coupon?.duration !== 'once' && (row?.end ?? Infinity) > now
  })
}

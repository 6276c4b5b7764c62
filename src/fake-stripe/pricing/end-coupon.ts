import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import type { Scope } from '../core/scope.ts'
import { couponExtras, coupons } from '../objects/coupon.ts'
import { couponOf, promotionCodes } from '../objects/promotion-code.ts'

/** Removes a coupon; its promotion codes stay, but nobody can use them any more. */
export function deleteCoupon(scope: Scope, coupon: Stripe.Coupon): Stripe.DeletedCoupon {
  const { id } = coupon
  scope.account.rows(coupons).remove(id)
  scope.account.rows(couponExtras).remove(id)
  emitEvent(scope, 'coupon.deleted', { ...coupon, valid: false })
  for (const [before, after] of endCodes(scope, id))
    emitEvent(scope, 'promotion_code.updated', after, before)
  return { id, object: 'coupon', deleted: true }
}

/**
 * At its `redeem_by` a coupon and its codes stop being usable. Stripe sends no event for that: it
 * looks at the clock only when the coupon is read.
 */
export function scheduleCouponEnd(scope: Scope, coupon: Stripe.Coupon): void {
  const { id, redeem_by: at } = coupon
  if (at === null) return
  scope.world.clock.at(at * 1000, () => {
    // Meanwhile the coupon may be gone, and another with this id be there.
    const current = scope.account.rows(coupons).get(id)
    if (current?.redeem_by !== at) return
    changeRow(scope, coupons, id, { valid: false })
    endCodes(scope, id)
  })
}

/** The same for a promotion code and its `expires_at`. */
export function scheduleCodeEnd(scope: Scope, code: Stripe.PromotionCode): void {
  const { id, expires_at: at } = code
  if (at === null) return
  scope.world.clock.at(at * 1000, () => changeRow(scope, promotionCodes, id, { active: false }))
}

/** @returns each code that was active, before and after. */
function endCodes(scope: Scope, coupon: string): [Stripe.PromotionCode, Stripe.PromotionCode][] {
  return scope.account
    .rows(promotionCodes)
    .all((code) => code.active && couponOf(code) === coupon)
    .map((code) => [code, changeRow(scope, promotionCodes, code.id, { active: false })])
}

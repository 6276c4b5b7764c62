import type Stripe from 'stripe'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { StripeError } from '../core/stripe-error.ts'
import { coupons } from '../objects/coupon.ts'
import { couponOf, promotionCodes } from '../objects/promotion-code.ts'

/**
 * Whether a promotion code may be active: its coupon can be redeemed, the code itself too, and no
 * other active code reads the same for a customer who could use both. Case does not matter.
 *
 * @throws StripeError when it may not.
 */
export function checkRedeemable(scope: Scope, code: Stripe.PromotionCode): void {
  const { account, world } = scope
  const coupon = account.rows(coupons).get(couponOf(code) ?? '')
  if (coupon?.valid !== true)
    throw refusal('This promotion code cannot be active because its coupon is no longer valid.')
  const { expires_at: end, max_redemptions: most } = code
  if (end !== null && end <= world.clock.seconds())
    throw refusal('This promotion code cannot be active because it has expired.')
  if (most !== null && code.times_redeemed >= most)
    throw refusal('This promotion code cannot be active because it has been used up.')
  if (isTaken(scope, code))
    throw refusal(`An active promotion code with \`code: ${code.code}\` already exists.`)
}

function isTaken({ account }: Scope, code: Stripe.PromotionCode): boolean {
  const key = code.code.toLowerCase()
  const customer = idOf(code.customer)
  const others = account.rows(promotionCodes).page({
    limit: 1,
    where: (other) =>
      other.active &&
      other.id !== code.id &&
      other.code.toLowerCase() === key &&
      (customer ?? idOf(other.customer)) === (idOf(other.customer) ?? customer),
  })
  return others?.data.length === 1
}

function refusal(message: string): StripeError {
  return new StripeError(400, 'invalid_request_error', message)
}

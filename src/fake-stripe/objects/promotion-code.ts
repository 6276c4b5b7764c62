import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

export const promotionCodes = defineTable<Stripe.PromotionCode>('promotion_code', {
  label: 'promotion code',
})

/** What a promotion code shows only to those who expand it. */
export const promotionCodeExtras = defineTable<{
  id: string
  /** Without the code's own currency. */
  currencyOptions: Record<string, Stripe.PromotionCode.Restrictions.CurrencyOptions>
}>('promotion_code.extras', { hidden: true })

export type PromotionCodeFields = Pick<Stripe.PromotionCode, 'promotion'> &
  Partial<Omit<Stripe.PromotionCode, 'object' | 'livemode'>>

/** A promotion code that is not stored yet. */
export function buildPromotionCode(
  { account, world }: Scope,
  fields: PromotionCodeFields,
): Stripe.PromotionCode {
  return {
    id: fakeId('promo_1'),
    object: 'promotion_code',
    active: true,
    code: fakeId('', 8).toUpperCase(),
    created: world.clock.seconds(),
    customer: null,
    customer_account: null,
    expires_at: null,
    livemode: account.livemode,
    max_redemptions: null,
    metadata: {},
    restrictions: {
      first_time_transaction: false,
      minimum_amount: null,
      minimum_amount_currency: null,
    },
    times_redeemed: 0,
    ...fields,
  }
}

/** The coupon that a code stands for. */
export function couponOf({ promotion }: Stripe.PromotionCode): string | null {
  return idOf(promotion.coupon)
}

/** The restrictions with the minimum in all currencies, the code's own first. */
export function expandedRestrictions({ account }: Scope, id: string) {
  const code = account.rows(promotionCodes).get(id)
  if (code === undefined) return undefined
  const { minimum_amount: minimum, minimum_amount_currency: currency } = code.restrictions
  const own =
    minimum === null || currency === null ? {} : { [currency]: { minimum_amount: minimum } }
  const options = account.rows(promotionCodeExtras).get(id)?.currencyOptions
  return { ...code.restrictions, currency_options: { ...own, ...options } }
}

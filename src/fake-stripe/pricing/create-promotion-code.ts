import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { existing } from '../api/resource.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import type { Scope } from '../core/scope.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import { coupons } from '../objects/coupon.ts'
import { customers } from '../objects/customer.ts'
import {
  buildPromotionCode,
  promotionCodeExtras,
  promotionCodes,
} from '../objects/promotion-code.ts'
import type { PromotionCodeCreateInput } from '../resources/promotion-code-params.ts'
import { checkExpiry } from './check-expiry.ts'
import { checkRedeemable } from './check-redeemable.ts'
import { scheduleCodeEnd } from './end-coupon.ts'

const WELL_FORMED = /^[a-zA-Z0-9\-_]+$/

/** @throws StripeError when the code is taken, or reaches further than its coupon. */
export function createPromotionCode(
  scope: Scope,
  input: PromotionCodeCreateInput,
): Stripe.PromotionCode {
  const { customer, restrictions } = input
  const coupon = couponFor(scope, input)
  if (customer !== undefined) existing(scope, customers, customer, 'customer')
  checkCode(input.code)
  checkExpiry(scope, 'expires_at', input.expires_at)
  checkWithin(coupon, input)
  checkMinimum(restrictions)
  const code = buildPromotionCode(scope, {
    ...givenFields({ active: input.active, code: input.code }),
    customer: customer ?? null,
    expires_at: input.expires_at ?? null,
    max_redemptions: input.max_redemptions ?? null,
    metadata: changeMetadata({}, input.metadata),
    promotion: { coupon: coupon.id, type: 'coupon' },
    restrictions: {
      first_time_transaction: restrictions?.first_time_transaction ?? false,
      minimum_amount: restrictions?.minimum_amount ?? null,
      minimum_amount_currency: restrictions?.minimum_amount_currency ?? null,
    },
  })
  if (code.active) checkRedeemable(scope, code)
  addMinimums(scope, code, restrictions?.currency_options ?? {})
  scope.account.rows(promotionCodes).insert(code)
  scheduleCodeEnd(scope, code)
  emitEvent(scope, 'promotion_code.created', code)
  return code
}

/**
 * Sets the minimum amounts of a code in further currencies.
 *
 * @throws StripeError for the currency of the code's own minimum.
 */
export function addMinimums(
  { account }: Scope,
  { id, restrictions }: Stripe.PromotionCode,
  options: Record<string, { minimum_amount?: number | undefined }>,
): void {
  const extras = account.rows(promotionCodeExtras)
  const currencyOptions = { ...extras.get(id)?.currencyOptions }
  for (const [currency, { minimum_amount: minimum }] of Object.entries(options)) {
    if (currency === restrictions.minimum_amount_currency)
      throw invalidParameter(
        `restrictions[currency_options][${currency}]`,
        'Each currency must be different from the `minimum_amount_currency` of the promotion code.',
      )
    if (minimum !== undefined) currencyOptions[currency] = { minimum_amount: minimum }
  }
  if (extras.get(id) === undefined) extras.insert({ id, currencyOptions })
  else extras.replace({ id, currencyOptions })
}

function couponFor(scope: Scope, { promotion }: PromotionCodeCreateInput): Stripe.Coupon {
  if (promotion.coupon === undefined)
    throw invalidParameter(
      'promotion.coupon', // with a dot, unlike Stripe's other names
      'You must pass promotion.coupon when passing promotion',
    )
  return existing(scope, coupons, promotion.coupon, 'promotion[coupon]')
}

function checkCode(code: string | undefined): void {
  if (code === undefined || WELL_FORMED.test(code)) return
  throw invalidParameter(
    'code',
    `This value must match the regex pattern. (/\\A[a-zA-Z0-9\\-_]+\\z/ does not match for the value ${code}).`,
  )
}

function checkWithin(coupon: Stripe.Coupon, input: PromotionCodeCreateInput): void {
  const { expires_at: end, max_redemptions: most } = input
  if (coupon.redeem_by !== null && end !== undefined && end > coupon.redeem_by)
    throw invalidParameter(
      'expires_at',
      "The promotion code's `expires_at` cannot be after the coupon's `redeem_by`.",
    )
  if (coupon.max_redemptions !== null && most !== undefined && most > coupon.max_redemptions)
    throw invalidParameter(
      'max_redemptions',
      "The promotion code's `max_redemptions` cannot be greater than the coupon's `max_redemptions`.",
    )
}

function checkMinimum(restrictions: PromotionCodeCreateInput['restrictions']): void {
  const { minimum_amount: minimum, minimum_amount_currency: currency } = restrictions ?? {}
  if ((minimum === undefined) === (currency === undefined)) return
  const missing = minimum === undefined ? 'minimum_amount' : 'minimum_amount_currency'
  throw invalidParameter(
    `restrictions[${missing}]`,
    'You must pass minimum_amount and minimum_amount_currency together.',
  )
}

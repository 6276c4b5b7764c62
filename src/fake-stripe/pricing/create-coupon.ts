import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { existing } from '../api/resource.ts'
import { emitEvent } from '../core/emit-event.ts'
import type { Scope } from '../core/scope.ts'
import { alreadyExists, invalidParameter, StripeError } from '../core/stripe-error.ts'
import { buildCoupon, couponExtras, coupons } from '../objects/coupon.ts'
import { products } from '../objects/product.ts'
import type { CouponCreateInput } from '../resources/coupon-params.ts'
import { checkExpiry } from './check-expiry.ts'
import { scheduleCouponEnd } from './end-coupon.ts'

/** @throws StripeError when the rules of the discount, its duration or its end are broken. */
export function createCoupon(scope: Scope, input: CouponCreateInput): Stripe.Coupon {
  const { account } = scope
  checkDiscount(input)
  checkDuration(input)
  checkExpiry(scope, 'redeem_by', input.redeem_by)
  if (input.id !== undefined && account.rows(coupons).get(input.id)) throw alreadyExists('Coupon')
  const wanted = input.applies_to?.products
  for (const [index, id] of (wanted ?? []).entries())
    existing(scope, products, id, `applies_to[products][${index}]`)

  const coupon = account.rows(coupons).insert(
    buildCoupon(scope, {
      ...(input.id === undefined ? {} : { id: input.id }),
      amount_off: input.amount_off ?? null,
      currency: input.amount_off === undefined ? null : (input.currency ?? null),
      duration: input.duration ?? 'once',
      duration_in_months: input.duration_in_months ?? null,
      max_redemptions: input.max_redemptions ?? null,
      metadata: changeMetadata({}, input.metadata),
      name: input.name ?? null,
      percent_off: input.percent_off ?? null,
      redeem_by: input.redeem_by ?? null,
    }),
  )
  const { id } = coupon
  const currencyOptions = input.currency_options ?? {}
  account.rows(couponExtras).insert({ id, products: wanted ?? null, currencyOptions })
  scheduleCouponEnd(scope, coupon)
  emitEvent(scope, 'coupon.created', coupon)
  return coupon
}

// The words, the missing codes and the odd parameter names are Stripe's own.
function checkDiscount(input: CouponCreateInput): void {
  const { amount_off: amount, percent_off: percent, currency, currency_options: options } = input
  if (amount === undefined && percent === undefined)
    throw refusal('Must provide percent_off or amount_off.', { code: 'parameter_missing' })
  if (amount !== undefined && percent !== undefined)
    throw refusal('Received both percent_off and amount_off parameters. Please pass in only one.')
  if (amount !== undefined && currency === undefined)
    throw invalidParameter('currency', 'You must pass currency when passing amount_off')
  if (percent !== undefined && options !== undefined)
    throw invalidParameter(
      'currency_options',
      'You may only specify one of these parameters: currency_options, percent_off.',
    )
}

function checkDuration({ duration, duration_in_months: months }: CouponCreateInput): void {
  if (duration === 'repeating' && months === undefined)
    throw invalidParameter(
      'duration',
      'The duration_in_months param must be set when creating a coupon with a repeating duration',
    )
  if (duration !== 'repeating' && months !== undefined)
    throw invalidParameter(
      'duration_in_months',
      'The duration_in_months param may only be set when creating a coupon with a repeating duration',
    )
}

function refusal(message: string, details: { code?: string } = {}): StripeError {
  return new StripeError(400, 'invalid_request_error', message, details)
}

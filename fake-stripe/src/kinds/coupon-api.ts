import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  amount,
  byCurrency,
  choice,
  currency,
  emptyable,
  fraction,
  group,
  integer,
  list,
  type ShapeOf,
  text,
  timeRange,
} from '../api/params.ts'
import { changeRow, emitEvent } from '../core/changes.ts'
import { alreadyExists, invalidParameter, StripeError } from '../core/errors.ts'
import type { Scope } from '../core/scope.ts'
import {
  buildCoupon,
  type CouponExtras,
  checkDiscountExpiry,
  couponCurrencies,
  couponExtras,
  couponProducts,
  coupons,
} from './coupon.ts'
import { products } from './product.ts'
import { deactivateCodes } from './promotion-code.ts'

const currencyOptions = byCurrency({
  amount_off: amount('positive'),
} satisfies ShapeOf<Stripe.CouponCreateParams.CurrencyOptions>)

/** `POST /v1/coupons`. @see https://docs.stripe.com/api/coupons/create */
const couponCreateParams = group({
  amount_off: amount('positive').optional(),
  applies_to: group({
    products: list(text()).optional(),
  } satisfies ShapeOf<Stripe.CouponCreateParams.AppliesTo>).optional(),
  currency: currency().optional(),
  currency_options: currencyOptions.optional(),
  duration: choice('duration', ['forever', 'once', 'repeating']).optional(),
  duration_in_months: integer({ min: 1 }).optional(),
  id: text().optional(),
  max_redemptions: integer({ min: 1 }).optional(),
  metadata: metadataParam().optional(),
  name: emptyable(text({ max: 40 })).optional(),
  percent_off: fraction({ min: 0.01, max: 100 }).optional(),
  redeem_by: integer().optional(),
} satisfies ShapeOf<Stripe.CouponCreateParams>)

type CouponCreateInput = z.output<typeof couponCreateParams>

const couponUpdateParams = group({
  currency_options: currencyOptions.optional(),
  metadata: metadataParam().optional(),
  name: emptyable(text({ max: 40 })).optional(),
} satisfies ShapeOf<Stripe.CouponUpdateParams>)

type CouponUpdateInput = z.output<typeof couponUpdateParams>

const PATH = '/v1/coupons'
const kind = coupons.name

const filters = {
  created: timeRange().optional(),
} satisfies FiltersOf<Stripe.CouponListParams>

/** @see https://docs.stripe.com/api/coupons */
export const couponResource: Resource = {
  kind,
  expandable: {
    applies_to: { kind: 'coupon.applies_to', load: couponProducts },
    currency_options: { kind: 'coupon.currency_options', load: couponCurrencies },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: couponCreateParams,
      run: createCoupon,
    }),
    retrieveOperation(`${PATH}/:id`, coupons, 'coupon'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: couponUpdateParams,
      run: updateCoupon,
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run: (call, _params, { id = '' }) =>
        deleteCoupon(call, existing(call, coupons, id, 'coupon', 404)),
    }),
    listOperation({
      path: PATH,
      table: coupons,
      filters,
      where: ({ created }) => createdWithin(created),
    }),
  ],
}

function updateCoupon(
  call: Call,
  params: CouponUpdateInput,
  { id = '' }: Readonly<Record<string, string>>,
): Stripe.Coupon {
  const before = existing(call, coupons, id, 'coupon', 404)
  const { currency_options: options, metadata, name } = params
  if (options !== undefined) {
    if (before.amount_off === null)
      throw invalidParameter(
        'currency_options',
        'You may only specify one of these parameters: currency_options, percent_off.',
      )
    addCurrencies(call, id, options)
  }
  const after = changeRow(call, coupons, id, {
    metadata: changeMetadata(before.metadata ?? {}, metadata),
    ...(name === undefined ? {} : { name }),
  })
  emitEvent(call, 'coupon.updated', after, before)
  return after
}

function addCurrencies(call: Call, id: string, options: CouponExtras['currencyOptions']): void {
  const extras = call.account.rows(couponExtras)
  const known = extras.get(id)
  if (known === undefined) extras.insert({ id, products: null, currencyOptions: options })
  else extras.replace({ ...known, currencyOptions: { ...known.currencyOptions, ...options } })
}

/** @throws StripeError for an invalid discount, duration or end. */
function createCoupon(scope: Scope, input: CouponCreateInput): Stripe.Coupon {
  const { account } = scope
  checkDiscount(input)
  checkDuration(input)
  checkDiscountExpiry(scope, 'redeem_by', input.redeem_by)
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

// Messages, missing codes and parameter names are as Stripe has them.
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

/** Deletes a coupon; its promotion codes stay and become inactive. */
function deleteCoupon(scope: Scope, coupon: Stripe.Coupon): Stripe.DeletedCoupon {
  const { id } = coupon
  scope.account.rows(coupons).remove(id)
  scope.account.rows(couponExtras).remove(id)
  emitEvent(scope, 'coupon.deleted', { ...coupon, valid: false })
  for (const [before, after] of deactivateCodes(scope, id))
    emitEvent(scope, 'promotion_code.updated', after, before)
  return { id, object: 'coupon', deleted: true }
}

/**
 * At its `redeem_by` a coupon and its codes become invalid. Stripe sends no event for it, because
 * it compares the time only when the coupon is read.
 */
function scheduleCouponEnd(scope: Scope, coupon: Stripe.Coupon): void {
  const { id, redeem_by: at } = coupon
  if (at === null) return
  scope.world.clock.at(at * 1000, () => {
    // The coupon can have been deleted, and another one can have its id.
    const current = scope.account.rows(coupons).get(id)
    if (current?.redeem_by !== at) return
    changeRow(scope, coupons, id, { valid: false })
    deactivateCodes(scope, id)
  })
}

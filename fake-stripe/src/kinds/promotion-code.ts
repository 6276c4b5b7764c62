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
  type PathParams,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  amount,
  byCurrency,
  choice,
  currency,
  flag,
  group,
  integer,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
} from '../api/params.ts'
import { changeRow, emitEvent, givenFields } from '../core/changes.ts'
import { invalidParameter, StripeError } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { checkDiscountExpiry, coupons } from './coupon.ts'
import { customers } from './customer.ts'

export const promotionCodes = defineTable<Stripe.PromotionCode>('promotion_code', {
  label: 'promotion code',
})

/** Fields of a promotion code that are shown only when they are expanded. */
const promotionCodeExtras = defineTable<{
  id: string
  /** The minimums in further currencies. */
  currencyOptions: Record<string, Stripe.PromotionCode.Restrictions.CurrencyOptions>
}>('promotion_code.extras', { hidden: true })

export type PromotionCodeFields = Pick<Stripe.PromotionCode, 'promotion'> &
  Partial<Omit<Stripe.PromotionCode, 'object' | 'livemode'>>

/** Builds a promotion code. */
function buildPromotionCode(
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

/** The coupon of a promotion code. */
export function couponOf({ promotion }: Stripe.PromotionCode): string | null {
  return idOf(promotion.coupon)
}

/** The restrictions with the minimum in all currencies, the code's own first. */
function expandedRestrictions({ account }: Scope, id: string) {
  const code = account.rows(promotionCodes).get(id)
  if (code === undefined) return undefined
  const { minimum_amount: minimum, minimum_amount_currency: currency } = code.restrictions
  const own =
    minimum === null || currency === null ? {} : { [currency]: { minimum_amount: minimum } }
  const options = account.rows(promotionCodeExtras).get(id)?.currencyOptions
  return { ...code.restrictions, currency_options: { ...own, ...options } }
}

const currencyOptions = byCurrency({
  minimum_amount: amount('positive').optional(),
} satisfies ShapeOf<Stripe.PromotionCodeCreateParams.Restrictions.CurrencyOptions>)

/** `POST /v1/promotion_codes`. @see https://docs.stripe.com/api/promotion_codes/create */
const promotionCodeCreateParams = group({
  active: flag().optional(),
  code: text({ max: 500 }).optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  expires_at: integer().optional(),
  max_redemptions: integer({ min: 1 }).optional(),
  metadata: metadataParam().optional(),
  promotion: group({
    coupon: text().optional(),
    type: choice('type', ['coupon']),
  } satisfies ShapeOf<Stripe.PromotionCodeCreateParams.Promotion>),
  restrictions: group({
    currency_options: currencyOptions.optional(),
    first_time_transaction: flag().optional(),
    minimum_amount: amount('positive').optional(),
    minimum_amount_currency: currency().optional(),
  } satisfies ShapeOf<Stripe.PromotionCodeCreateParams.Restrictions>).optional(),
} satisfies ShapeOf<Stripe.PromotionCodeCreateParams>)

const promotionCodeUpdateParams = group({
  active: flag().optional(),
  metadata: metadataParam().optional(),
  restrictions: group({
    currency_options: currencyOptions.optional(),
  } satisfies ShapeOf<Stripe.PromotionCodeUpdateParams.Restrictions>).optional(),
} satisfies ShapeOf<Stripe.PromotionCodeUpdateParams>)

type PromotionCodeCreateInput = z.output<typeof promotionCodeCreateParams>
type PromotionCodeUpdateInput = z.output<typeof promotionCodeUpdateParams>

const PATH = '/v1/promotion_codes'
const kind = promotionCodes.name

const filters = {
  active: flag().optional(),
  code: text().optional(),
  coupon: text().optional(),
  created: timeRange().optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
} satisfies FiltersOf<Stripe.PromotionCodeListParams>

/** @see https://docs.stripe.com/api/promotion_codes */
export const promotionCodeResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    promotion: { kind: 'promotion_code.promotion', inline: true },
    restrictions: { kind: 'promotion_code.restrictions', load: expandedRestrictions },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: promotionCodeCreateParams,
      run: createPromotionCode,
    }),
    retrieveOperation(`${PATH}/:id`, promotionCodes, 'promotion_code'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: promotionCodeUpdateParams,
      run: updateCode,
    }),
    listOperation({
      path: PATH,
      table: promotionCodes,
      filters,
      where({ active, code, coupon, created, customer }, call) {
        if (coupon !== undefined) existing(call, coupons, coupon, 'coupon')
        if (customer !== undefined) existing(call, customers, customer, 'customer')
        const within = createdWithin(created)
        const key = code?.toLowerCase()
        return (row) =>
          within(row) &&
          (active ?? row.active) === row.active &&
          (key === undefined || key === row.code.toLowerCase()) &&
          (coupon === undefined || coupon === couponOf(row)) &&
          (customer ?? idOf(row.customer)) === idOf(row.customer)
      },
    }),
  ],
}

/** Always full objects; fields below them can be expanded. */
export const promotionResource: Resource = {
  kind: 'promotion_code.promotion',
  expandable: { coupon: { kind: 'coupon' } },
  operations: [],
}
export const restrictionsResource: Resource = {
  kind: 'promotion_code.restrictions',
  expandable: { currency_options: { kind: 'promotion_code.currency_options', inline: true } },
  operations: [],
}

function updateCode(
  call: Call,
  { active, metadata, restrictions }: PromotionCodeUpdateInput,
  { id = '' }: PathParams,
): Stripe.PromotionCode {
  const before = existing(call, promotionCodes, id, 'promotion_code', 404)
  if (active === true && !before.active) checkRedeemable(call, before)
  if (restrictions?.currency_options) addMinimums(call, before, restrictions.currency_options)
  const after = changeRow(call, promotionCodes, id, {
    active: active ?? before.active,
    metadata: changeMetadata(before.metadata ?? {}, metadata),
  })
  emitEvent(call, 'promotion_code.updated', after, before)
  return after
}

const CODE_PATTERN = /^[a-zA-Z0-9\-_]+$/

/** @throws StripeError when the code is in use, or exceeds the limits of its coupon. */
function createPromotionCode(scope: Scope, input: PromotionCodeCreateInput): Stripe.PromotionCode {
  const { customer, restrictions } = input
  const coupon = promotedCoupon(scope, input)
  if (customer !== undefined) existing(scope, customers, customer, 'customer')
  checkCode(input.code)
  checkDiscountExpiry(scope, 'expires_at', input.expires_at)
  checkCouponLimits(coupon, input)
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
function addMinimums(
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

function promotedCoupon(scope: Scope, { promotion }: PromotionCodeCreateInput): Stripe.Coupon {
  if (promotion.coupon === undefined)
    throw invalidParameter(
      'promotion.coupon', // Stripe has a dot in this name only
      'You must pass promotion.coupon when passing promotion',
    )
  return existing(scope, coupons, promotion.coupon, 'promotion[coupon]')
}

function checkCode(code: string | undefined): void {
  if (code === undefined || CODE_PATTERN.test(code)) return
  throw invalidParameter(
    'code',
    `This value must match the regex pattern. (/\\A[a-zA-Z0-9\\-_]+\\z/ does not match for the value ${code}).`,
  )
}

function checkCouponLimits(coupon: Stripe.Coupon, input: PromotionCodeCreateInput): void {
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

/**
 * Checks whether a promotion code can be active: its coupon and the code itself can be redeemed,
 * and no other active code with the same text is open to the same customers. Case is ignored.
 *
 * @throws StripeError otherwise.
 */
function checkRedeemable(scope: Scope, code: Stripe.PromotionCode): void {
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

/** A promotion code becomes inactive at its `expires_at`. */
function scheduleCodeEnd(scope: Scope, code: Stripe.PromotionCode): void {
  const { id, expires_at: at } = code
  if (at === null) return
  scope.world.clock.at(at * 1000, () => changeRow(scope, promotionCodes, id, { active: false }))
}

/**
 * Deactivates the codes of a coupon.
 *
 * @returns each code that was active, before and after the change.
 */
export function deactivateCodes(
  scope: Scope,
  coupon: string,
): [Stripe.PromotionCode, Stripe.PromotionCode][] {
  return scope.account
    .rows(promotionCodes)
    .all((code) => code.active && couponOf(code) === coupon)
    .map((code) => [code, changeRow(scope, promotionCodes, code.id, { active: false })])
}

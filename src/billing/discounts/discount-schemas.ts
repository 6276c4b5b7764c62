import { z } from 'zod'
import { conferenceParams, currencyCode } from '../../http/common-schemas.ts'
import { CURRENCIES, priceProblem, toStripeAmount } from '../../shared/money.ts'
import { timestampInput } from '../../shared/time.ts'

/** What this service itself writes into the metadata of what it makes. */
const RESERVED_KEYS = ['conference_id', 'discount_change', 'voucher_batch', 'voucher']

// Stripe takes 50; the rest is ours. https://docs.stripe.com/api/metadata
const MAX_METADATA_KEYS = 50 - RESERVED_KEYS.length

const metadataKey = z
  .string()
  .min(1)
  .max(40)
  .regex(/^[^[\]]+$/, 'must not contain square brackets')
  .refine((key) => !RESERVED_KEYS.includes(key), 'is a key that this service sets itself')

const metadataValue = z.string().min(1).max(500)

const withFewKeys = (entries: object) => Object.keys(entries).length <= MAX_METADATA_KEYS
const TOO_MANY = `must have at most ${MAX_METADATA_KEYS} keys`

/** `metadata` of what is created. */
const newMetadata = z
  .record(metadataKey, metadataValue)
  .refine(withFewKeys, TOO_MANY)
  .meta({ description: `At most ${MAX_METADATA_KEYS} keys of 40 characters, values of 500.` })

/** `metadata` of what is changed: keys that are not named stay. */
const changedMetadata = z
  .record(metadataKey, metadataValue.nullable())
  .refine(withFewKeys, TOO_MANY)
  .meta({ description: 'Keys that are not named stay; null removes one.' })

/** Stripe removes a key whose value is empty. */
export function toStripeMetadata(
  metadata: Record<string, string | null> | undefined,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata ?? {}).map(([key, value]) => [key, value ?? '']),
  )
}

// https://docs.stripe.com/api/coupons/create: "cannot be set to more than 5 years in the future"
const FIVE_YEARS_MS = 5 * 365 * 24 * 3_600_000

/** Why nothing at Stripe can end at this time, or null. Stripe counts in seconds. */
export function endProblem(end: Date, now: Date): string | null {
  if (Math.floor(end.getTime() / 1000) * 1000 <= now.getTime()) return 'must be in the future'
  return end.getTime() - now.getTime() > FIVE_YEARS_MS
    ? "must be within five years, which is Stripe's limit"
    : null
}

export const toUnixSeconds = (moment: Date) => Math.floor(moment.getTime() / 1000)

/** An amount that is taken off, or at least to be paid: minor units of its currency. */
const discountAmount = z.int().min(1).max(99_999_999)

/** Our minor units of an upper-case currency, as Stripe takes them. */
export function toStripeMoney(amount: number, currency: string) {
  return { amount: toStripeAmount(amount, currency), currency: currency.toLowerCase() }
}

const couponName = z.string().trim().min(1).max(40).meta({
  description: 'What customers see on receipts; without one they see the id.',
})

const currencyOptions = z
  .record(z.string(), z.strictObject({ amount_off: discountAmount }))
  .meta({ description: 'The discount in further currencies. Only with amount_off.' })

type CurrencyOptions = z.output<typeof currencyOptions>

const couponFields = {
  id: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,200}$/, 'must be 1 to 200 letters, digits, hyphens and underscores')
    .optional()
    .meta({
      description: 'Chosen at random when absent. Of a deleted coupon it may be taken again.',
    }),
  amount_off: discountAmount.optional().meta({
    description: 'Minor units of `currency`: 500 is 5.00 EUR and 500 JPY. This or percent_off.',
  }),
  percent_off: z
    .number()
    .gt(0)
    .max(100)
    .refine((percent) => Number(percent.toFixed(2)) === percent, 'must have at most two decimals')
    .optional()
    .meta({ description: 'Above 0, at most 100, with at most two decimals.' }),
  currency: currencyCode.optional().meta({ description: 'With amount_off, and only with it.' }),
  currency_options: currencyOptions.optional(),
  duration: z.enum(['once', 'repeating', 'forever']).default('once').meta({
    description: 'For how long it counts when it is used on a subscription.',
  }),
  duration_in_months: z.int().min(1).max(1_200).optional().meta({
    description: 'With the duration `repeating`, and only with it.',
  }),
  max_redemptions: z.int().min(1).max(2_147_483_647).optional(),
  redeem_by: timestampInput.optional().meta({ description: 'In the future, within five years.' }),
  name: couponName.optional(),
  metadata: newMetadata.optional(),
  applies_to: z
    .strictObject({ products: z.array(z.string().min(1).max(255)).min(1).max(100) })
    .optional()
    .meta({ description: "Only for these of Stripe's products." }),
}

type Problem = readonly [path: (string | number)[], message: string | null]

/** `POST C/stripe/coupons`. What depends on the clock and on what exists is asked later. */
export const createCouponBody = z
  .strictObject(couponFields)
  .superRefine((body, context) => {
    const found: Problem[] = [
      ...discountRules(body),
      ...durationRules(body),
      ...currencyRules(body.currency_options, body.currency),
    ]
    for (const [path, message] of found) {
      if (message !== null) context.addIssue({ code: 'custom', path, message })
    }
  })
  .meta({ id: 'CreateCoupon' })

export type CreateCouponInput = z.output<typeof createCouponBody>

type Discount = {
  amount_off?: number | undefined
  percent_off?: number | undefined
  currency?: string | undefined
  currency_options?: CurrencyOptions | undefined
}

function discountRules({
  amount_off: amount,
  percent_off: percent,
  currency,
  currency_options: options,
}: Discount): Problem[] {
  if (amount === undefined && percent === undefined) {
    return [[['amount_off'], 'is required, or percent_off']]
  }
  if (amount !== undefined && percent !== undefined) {
    return [[['percent_off'], 'cannot be given together with amount_off']]
  }
  if (amount === undefined) {
    const onlyWithAmount = 'is for amount_off only'
    return [
      [['currency'], currency === undefined ? null : onlyWithAmount],
      [['currency_options'], options === undefined ? null : onlyWithAmount],
    ]
  }
  if (currency === undefined) return [[['currency'], 'is required with amount_off']]
  // Of a currency that does not exist the rule of the field itself tells.
  const isKnown = CURRENCIES.includes(currency)
  return [[['amount_off'], isKnown ? priceProblem(amount, currency) : null]]
}

function durationRules(body: {
  duration: string
  duration_in_months?: number | undefined
}): Problem[] {
  const isGiven = body.duration_in_months !== undefined
  if (body.duration === 'repeating') {
    return [[['duration_in_months'], isGiven ? null : 'is required with the duration repeating']]
  }
  return [[['duration_in_months'], isGiven ? 'is for the duration repeating only' : null]]
}

function currencyRules(options: CurrencyOptions | undefined, own: string | undefined): Problem[] {
  return Object.entries(options ?? {}).map(([key, { amount_off: amount }]): Problem => {
    const currency = key.toUpperCase()
    const path = ['currency_options', key]
    if (!CURRENCIES.includes(currency)) return [path, 'is no currency that Stripe can charge']
    if (currency === own) return [path, "is the coupon's own currency"]
    return [[...path, 'amount_off'], priceProblem(amount, currency)]
  })
}

/** Stripe keeps everything else as it was made. @see https://docs.stripe.com/api/coupons/update */
const changeableCouponFields = {
  name: couponName.nullable().optional().meta({ description: 'null: none.' }),
  metadata: changedMetadata.optional(),
  currency_options: currencyOptions.optional(),
}

const refusedCouponChange = (field: string) =>
  field in couponFields
    ? `cannot be changed: Stripe keeps the ${field} of a coupon as it was created. Delete it and create another.`
    : 'This field is not known.'

/** `PATCH C/stripe/coupons/{id}`. Loose only so that a field that is fixed is refused with the reason. */
export const updateCouponBody = z
  .looseObject(changeableCouponFields)
  .superRefine((body, context) => {
    const others = Object.keys(body).filter((field) => !(field in changeableCouponFields))
    for (const field of others) {
      context.addIssue({ code: 'custom', path: [field], message: refusedCouponChange(field) })
    }
    for (const [path, message] of currencyRules(body.currency_options, undefined)) {
      if (message !== null) context.addIssue({ code: 'custom', path, message })
    }
  })
  .meta({ id: 'UpdateCoupon', additionalProperties: false })

export type UpdateCouponInput = Pick<
  z.output<typeof updateCouponBody>,
  'name' | 'metadata' | 'currency_options'
>

export const couponParams = conferenceParams.extend({
  id: z.string().meta({ description: "Stripe's id of the coupon." }),
})

const restrictions = z
  .strictObject({
    first_time_transaction: z.boolean().optional().meta({
      description: "Only for a customer's first payment.",
    }),
    minimum_amount: discountAmount.optional().meta({
      description: 'What must be paid at least without the discount; minor units.',
    }),
    minimum_amount_currency: currencyCode.optional().meta({
      description: 'With minimum_amount, and only with it.',
    }),
  })
  .superRefine(({ minimum_amount: minimum, minimum_amount_currency: currency }, context) => {
    if ((minimum === undefined) !== (currency === undefined)) {
      const missing = minimum === undefined ? 'minimum_amount' : 'minimum_amount_currency'
      const message = 'minimum_amount and minimum_amount_currency are given together'
      context.addIssue({ code: 'custom', path: [missing], message })
    }
    if (minimum === undefined || currency === undefined || !CURRENCIES.includes(currency)) return
    const message = priceProblem(minimum, currency)
    if (message !== null) context.addIssue({ code: 'custom', path: ['minimum_amount'], message })
  })

const promotionCodeFields = {
  coupon: z.string().min(1).max(200).meta({ description: "Stripe's id of the coupon." }),
  code: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,500}$/, 'must be 1 to 500 letters, digits and hyphens')
    .optional()
    .meta({
      description:
        'What a customer types, in any case; chosen at random when absent. One active code of a customer reads so at a time.',
    }),
  active: z.boolean().default(true),
  customer: z.string().min(1).max(255).optional().meta({
    description: "Stripe's id of the only customer who may use it.",
  }),
  expires_at: timestampInput.optional().meta({
    description: "In the future, within five years, and not after the coupon's redeem_by.",
  }),
  max_redemptions: z.int().min(1).max(2_147_483_647).optional().meta({
    description: "At most the coupon's.",
  }),
  restrictions: restrictions.optional(),
  metadata: newMetadata.optional(),
}

/** `POST C/stripe/promotion-codes`. */
export const createPromotionCodeBody = z
  .strictObject(promotionCodeFields)
  .meta({ id: 'CreatePromotionCode' })

export type CreatePromotionCodeInput = z.output<typeof createPromotionCodeBody>

const changeablePromotionCodeFields = {
  active: z.boolean().optional(),
  metadata: changedMetadata.optional(),
}

const refusedPromotionCodeChange = (field: string) =>
  field in promotionCodeFields
    ? `cannot be changed: Stripe keeps the ${field} of a promotion code as it was created. Turn it off and create another.`
    : 'This field is not known.'

/** `PATCH C/stripe/promotion-codes/{id}`. Loose only so that a field that is fixed is refused with the reason. */
export const updatePromotionCodeBody = z
  .looseObject(changeablePromotionCodeFields)
  .superRefine((body, context) => {
    for (const field of Object.keys(body).filter(
      (name) => !(name in changeablePromotionCodeFields),
    )) {
      context.addIssue({
        code: 'custom',
        path: [field],
        message: refusedPromotionCodeChange(field),
      })
    }
  })
  .meta({ id: 'UpdatePromotionCode', additionalProperties: false })

export type UpdatePromotionCodeInput = Pick<
  z.output<typeof updatePromotionCodeBody>,
  'active' | 'metadata'
>

export const promotionCodeParams = conferenceParams.extend({
  id: z.string().meta({ description: "Stripe's id of the promotion code." }),
})

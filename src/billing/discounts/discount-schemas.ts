import { z } from 'zod'
import { conferenceParams, currencyCode, stripeId } from '../../http/common-schemas.ts'
import { CURRENCIES, priceProblem } from '../../shared/money.ts'
import { timestampInput } from '../../shared/time.ts'

/** Metadata keys that this service sets on the objects that it creates. */
const RESERVED_KEYS = ['conference_id', 'discount_change', 'voucher_batch', 'voucher']

// Stripe allows 50 keys. https://docs.stripe.com/api/metadata
const MAX_METADATA_KEYS = 50 - RESERVED_KEYS.length

const metadataKey = z
  .string()
  .min(1)
  .max(40)
  .regex(/^[^[\]]+$/, 'must not contain square brackets')
  .refine((key) => !RESERVED_KEYS.includes(key), 'is reserved for this service')

const metadataValue = z.string().min(1).max(500)

const withFewKeys = (entries: object) => Object.keys(entries).length <= MAX_METADATA_KEYS
const TOO_MANY = `must have at most ${MAX_METADATA_KEYS} keys`

/** `metadata` of a new object. */
const newMetadata = z
  .record(metadataKey, metadataValue)
  .refine(withFewKeys, TOO_MANY)
  .meta({
    id: 'DiscountMetadata',
    maxProperties: MAX_METADATA_KEYS,
    description: `At most ${MAX_METADATA_KEYS} keys. Keys have at most 40 characters, values at most 500.`,
  })

/** `metadata` of an update. */
const changedMetadata = z
  .record(metadataKey, metadataValue.nullable())
  .refine(withFewKeys, TOO_MANY)
  .meta({
    id: 'DiscountMetadataChange',
    maxProperties: MAX_METADATA_KEYS,
    description: 'Keys to set. null removes a key; other keys stay unchanged.',
  })

/** An amount of a discount, or a minimum amount, in minor units of its currency. */
const discountAmount = z.int().min(1).max(99_999_999)

const couponName = z.string().trim().min(1).max(40).meta({
  description: 'Shown to customers on receipts. Without a name, receipts show the id.',
})

const currencyOptions = z.record(z.string(), z.strictObject({ amount_off: discountAmount })).meta({
  id: 'CurrencyOptions',
  // `currencyRules` enforces both, and names the wrong currency.
  propertyNames: { type: 'string', pattern: '^[A-Za-z]{3}$', maxLength: 3 },
  maxProperties: CURRENCIES.length,
  description: 'The discount in other currencies. Allowed only with amount_off.',
})

type CurrencyOptions = z.output<typeof currencyOptions>

const couponFields = {
  id: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,200}$/, 'must be 1 to 200 letters, digits, hyphens and underscores')
    .optional()
    .meta({
      maxLength: 200,
      description: 'Default: a random id. The id of a deleted coupon can be used again.',
    }),
  amount_off: discountAmount.optional().meta({
    description:
      'Minor units of `currency`: 500 is 5.00 EUR or 500 JPY. Exactly one of amount_off and percent_off is required.',
  }),
  percent_off: z
    .number()
    .gt(0)
    .max(100)
    .refine((percent) => Number(percent.toFixed(2)) === percent, 'must have at most two decimals')
    .optional()
    .meta({ description: 'Greater than 0, at most 100, with at most two decimals.' }),
  currency: currencyCode
    .optional()
    .meta({ description: 'Required with amount_off, and allowed only with it.' }),
  currency_options: currencyOptions.optional(),
  duration: z.enum(['once', 'repeating', 'forever']).default('once').meta({
    description: 'How long the discount lasts on a subscription.',
  }),
  duration_in_months: z.int().min(1).max(1_200).optional().meta({
    description: 'Required with duration `repeating`, and allowed only with it.',
  }),
  max_redemptions: z.int().min(1).max(2_147_483_647).optional(),
  redeem_by: timestampInput
    .optional()
    .meta({ description: 'Must be in the future and within five years.' }),
  name: couponName.optional(),
  metadata: newMetadata.optional(),
  applies_to: z
    .strictObject({ products: z.array(z.string().min(1).max(255)).min(1).max(100) })
    .optional()
    .meta({ description: 'The Stripe products that the coupon applies to. Default: all.' }),
}

type Problem = readonly [path: (string | number)[], message: string | null]

/** `POST C/stripe/coupons`. Checks that need the clock or existing objects happen in write-coupon.ts. */
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
    return [[['amount_off'], 'is required when percent_off is absent']]
  }
  if (amount !== undefined && percent !== undefined) {
    return [[['percent_off'], 'cannot be given together with amount_off']]
  }
  if (amount === undefined) {
    const onlyWithAmount = 'is allowed only with amount_off'
    return [
      [['currency'], currency === undefined ? null : onlyWithAmount],
      [['currency_options'], options === undefined ? null : onlyWithAmount],
    ]
  }
  if (currency === undefined) return [[['currency'], 'is required with amount_off']]
  // The schema of the field itself reports an unknown currency.
  const isKnown = CURRENCIES.includes(currency)
  return [[['amount_off'], isKnown ? priceProblem(amount, currency) : null]]
}

function durationRules(body: {
  duration: string
  duration_in_months?: number | undefined
}): Problem[] {
  const isGiven = body.duration_in_months !== undefined
  if (body.duration === 'repeating') {
    return [[['duration_in_months'], isGiven ? null : 'is required with duration repeating']]
  }
  return [[['duration_in_months'], isGiven ? 'is allowed only with duration repeating' : null]]
}

function currencyRules(options: CurrencyOptions | undefined, own: string | undefined): Problem[] {
  return Object.entries(options ?? {}).map(([key, { amount_off: amount }]): Problem => {
    const currency = key.toUpperCase()
    const path = ['currency_options', key]
    if (!CURRENCIES.includes(currency)) return [path, 'is not a currency that Stripe can charge']
    if (currency === own) return [path, "is the coupon's own currency"]
    return [[...path, 'amount_off'], priceProblem(amount, currency)]
  })
}

/** Stripe cannot change the other fields. @see https://docs.stripe.com/api/coupons/update */
const changeableCouponFields = {
  name: couponName.nullable().optional().meta({ description: 'null removes the name.' }),
  metadata: changedMetadata.optional(),
  currency_options: currencyOptions.optional(),
}

const refusedCouponChange = (field: string) =>
  field in couponFields
    ? `cannot be changed: Stripe does not change the ${field} of a coupon. Delete the coupon and create another.`
    : 'is not a known field'

/** `PATCH C/stripe/coupons/{id}`. A loose object, so that a fixed field is refused with the reason. */
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
  id: stripeId.meta({ description: "Stripe's id of the coupon." }),
})

const restrictions = z
  .strictObject({
    first_time_transaction: z.boolean().optional().meta({
      description: "Valid only for a customer's first payment.",
    }),
    minimum_amount: discountAmount.optional().meta({
      description: 'Minimum amount before the discount, in minor units.',
    }),
    minimum_amount_currency: currencyCode.optional().meta({
      description: 'Required with minimum_amount, and allowed only with it.',
    }),
  })
  .superRefine(({ minimum_amount: minimum, minimum_amount_currency: currency }, context) => {
    if ((minimum === undefined) !== (currency === undefined)) {
      const missing = minimum === undefined ? 'minimum_amount' : 'minimum_amount_currency'
      const message = 'minimum_amount and minimum_amount_currency must be given together'
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
      maxLength: 500,
      description:
        'The text that a customer types; upper and lower case are the same. Default: a random code. No two active codes of a customer may have the same text.',
    }),
  active: z.boolean().default(true),
  customer: z.string().min(1).max(255).optional().meta({
    description: "Stripe's id of the only customer who may use the code. Default: any customer.",
  }),
  expires_at: timestampInput.optional().meta({
    description: "Must be in the future, within five years and not after the coupon's redeem_by.",
  }),
  max_redemptions: z.int().min(1).max(2_147_483_647).optional().meta({
    description: "At most the coupon's max_redemptions.",
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
    ? `cannot be changed: Stripe does not change the ${field} of a promotion code. Deactivate the code and create another.`
    : 'is not a known field'

/** `PATCH C/stripe/promotion-codes/{id}`. A loose object, so that a fixed field is refused with the reason. */
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
  id: stripeId.meta({ description: "Stripe's id of the promotion code." }),
})

import { z } from 'zod'
import { conferenceParams, currencyCode, timestampInput } from '../../../http/common-schemas.ts'
import { CURRENCIES, priceProblem } from '../../../shared/money.ts'
import { changedMetadata, discountAmount, newMetadata } from './discount-fields.ts'

const name = z.string().trim().min(1).max(40).meta({
  description: 'What customers see on receipts; without one they see the id.',
})

const currencyOptions = z
  .record(z.string(), z.strictObject({ amount_off: discountAmount }))
  .meta({ description: 'The discount in further currencies. Only with amount_off.' })

type CurrencyOptions = z.output<typeof currencyOptions>

const fields = {
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
  name: name.optional(),
  metadata: newMetadata.optional(),
  applies_to: z
    .strictObject({ products: z.array(z.string().min(1).max(255)).min(1).max(100) })
    .optional()
    .meta({ description: "Only for these of Stripe's products." }),
}

type Problem = readonly [path: (string | number)[], message: string | null]

/** `POST C/stripe/coupons`. What depends on the clock and on what exists is asked later. */
export const createCouponBody = z
  .strictObject(fields)
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
const changeable = {
  name: name.nullable().optional().meta({ description: 'null: none.' }),
  metadata: changedMetadata.optional(),
  currency_options: currencyOptions.optional(),
}

const refusedChange = (field: string) =>
  field in fields
    ? `cannot be changed: Stripe keeps the ${field} of a coupon as it was created. Delete it and create another.`
    : 'This field is not known.'

/** `PATCH C/stripe/coupons/{id}`. Loose only so that a field that is fixed is refused with the reason. */
export const updateCouponBody = z
  .looseObject(changeable)
  .superRefine((body, context) => {
    const others = Object.keys(body).filter((field) => !(field in changeable))
    for (const field of others) {
      context.addIssue({ code: 'custom', path: [field], message: refusedChange(field) })
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

import { z } from 'zod'
import { conferenceParams, currencyCode, timestampInput } from '../../../http/common-schemas.ts'
import { CURRENCIES, priceProblem } from '../../../shared/money.ts'
import { changedMetadata, discountAmount, newMetadata } from '../coupons/discount-fields.ts'

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

const fields = {
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
export const createPromotionCodeBody = z.strictObject(fields).meta({ id: 'CreatePromotionCode' })

export type CreatePromotionCodeInput = z.output<typeof createPromotionCodeBody>

const changeable = { active: z.boolean().optional(), metadata: changedMetadata.optional() }

const refusedChange = (field: string) =>
  field in fields
    ? `cannot be changed: Stripe keeps the ${field} of a promotion code as it was created. Turn it off and create another.`
    : 'This field is not known.'

/** `PATCH C/stripe/promotion-codes/{id}`. Loose only so that a field that is fixed is refused with the reason. */
export const updatePromotionCodeBody = z
  .looseObject(changeable)
  .superRefine((body, context) => {
    for (const field of Object.keys(body).filter((name) => !(name in changeable))) {
      context.addIssue({ code: 'custom', path: [field], message: refusedChange(field) })
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

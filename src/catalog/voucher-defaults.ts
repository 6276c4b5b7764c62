import { z } from 'zod'
import { STRIPE_MAXIMUM_AMOUNT } from '../shared/money.ts'
import { moment } from '../shared/time.ts'

const utcMoment = moment.transform((text) => new Date(text).toISOString())

/** The members of `voucher_config` and `voucher_defaults`, each with the rule of its own. */
export const voucherConfigFields = {
  voucher_type: z.enum(['comp', 'percentage', 'fixed_amount']),
  discount_value: z.number().min(0).max(STRIPE_MAXIMUM_AMOUNT).meta({
    description:
      'percentage: 0 to 100 with at most two decimals; fixed_amount: integer minor units; comp: 0 or 100.',
  }),
  max_uses: z.int().min(1).max(1_000_000).meta({ description: 'Redemptions of one code.' }),
  valid_from: utcMoment.nullable(),
  valid_until: utcMoment.nullable(),
  unlocks_hidden_tickets: z.boolean(),
  // 68 + 32 symbols are the 100 characters of a code.
  prefix: z.string().regex(/^[A-Z0-9-]{0,68}$/, 'must be at most 68 of A-Z, 0-9 and the hyphen'),
}

const fields = z.strictObject(voucherConfigFields).partial()

/** Terms that a ticket type or add-on gives to its vouchers; what is absent is defaulted later. */
export type VoucherDefaults = z.output<typeof fields>

/** The rule that `discount_value` breaks for its type, or null. */
export function discountRule({ voucher_type, discount_value }: VoucherDefaults): string | null {
  const type = voucher_type ?? 'comp'
  if (discount_value === undefined) {
    return type === 'comp' ? null : `is required for the voucher_type ${type}`
  }
  switch (type) {
    case 'comp':
      return discount_value === 0 || discount_value === 100
        ? null
        : 'must be 0 or 100 for a comp voucher'
    case 'percentage':
      return discount_value <= 100 && Number(discount_value.toFixed(2)) === discount_value
        ? null
        : 'must be a percentage from 0 to 100 with at most two decimals'
    case 'fixed_amount':
      return Number.isInteger(discount_value) ? null : 'must be an integer of minor units'
  }
}

/** `voucher_defaults` as a request sends it. */
export const voucherDefaultsSchema = fields.superRefine((terms, context) => {
  const problem = discountRule(terms)
  if (problem !== null) {
    context.addIssue({ code: 'custom', path: ['discount_value'], message: problem })
  }
  const { valid_from: from, valid_until: until } = terms
  // Both are UTC by now, so their order as text is their order in time.
  if (from && until && until <= from) {
    context.addIssue({ code: 'custom', path: ['valid_until'], message: 'must be after valid_from' })
  }
})

import { z } from 'zod'
import { STRIPE_MAXIMUM_AMOUNT } from '../shared/money.ts'
import { moment } from '../shared/time.ts'

const utcMoment = moment.transform((text) => new Date(text).toISOString())

/** The members of `voucher_config` and `voucher_defaults` and their rules. */
export const voucherConfigFields = {
  voucher_type: z.enum(['comp', 'percentage', 'fixed_amount']),
  discount_value: z.number().min(0).max(STRIPE_MAXIMUM_AMOUNT).meta({
    description:
      'percentage: 0 to 100 with at most two decimals; fixed_amount: integer minor units; comp: 0 or 100.',
  }),
  max_uses: z
    .int()
    .min(1)
    .max(1_000_000)
    .meta({ description: 'Number of redemptions of one code.' }),
  valid_from: utcMoment.nullable(),
  valid_until: utcMoment.nullable(),
  unlocks_hidden_tickets: z.boolean(),
  // A code has at most 100 characters, of which up to 32 are random.
  prefix: z
    .string()
    .regex(/^[A-Z0-9-]{0,68}$/, 'must have at most 68 characters, only A-Z, 0-9 and hyphens'),
}

const fields = z.strictObject(voucherConfigFields).partial()

/** The voucher terms of a ticket type or add-on. Absent ones get a default later. */
export type VoucherDefaults = z.output<typeof fields>

/** The rule that `discount_value` breaks for this voucher type, or null. */
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
      return Number.isInteger(discount_value) ? null : 'must be an integer number of minor units'
  }
}

/** `voucher_defaults` in a request. */
export const voucherDefaultsSchema = fields.superRefine((terms, context) => {
  const problem = discountRule(terms)
  if (problem !== null) {
    context.addIssue({ code: 'custom', path: ['discount_value'], message: problem })
  }
  const { valid_from: from, valid_until: until } = terms
  // Both are in UTC, so comparing the texts compares the times.
  if (from && until && until <= from) {
    context.addIssue({ code: 'custom', path: ['valid_until'], message: 'must be after valid_from' })
  }
})

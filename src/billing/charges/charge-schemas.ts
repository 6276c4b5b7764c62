import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { conferenceParams, id, pageOf, pageQuery } from '../../http/common-schemas.ts'
import type { PaymentAttempt } from '../../payments/payment-records.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import { metadataInput } from '../metadata.ts'
import { CHARGE_STATUSES, type ChargeAggregate, type ChargeRef, getCharge } from './charge-store.ts'

export const chargeParams = conferenceParams.extend({ charge: id })

const paymentMethod = z
  .string()
  .min(1)
  .max(255)
  .meta({ description: "Stripe's id, such as `pm_…`." })
const amount = z.int().min(1).max(99_999_999)
const url = z.string().min(1).max(2_000)
const reference = z.string().trim().min(1).max(200)

/** @see https://docs.stripe.com/get-started/account/statement-descriptors */
const statementSuffix = z
  .string()
  .trim()
  .min(1)
  .max(22)
  .regex(/^[ -~]*$/, 'must be printable ASCII')
  .regex(/^[^<>\\'"*]*$/, 'must not contain any of < > \\ \' " *')
  .regex(/[A-Za-z]/, 'must contain a letter')
  .meta({
    description:
      "Shown on the card's statement after the account's prefix; together at most 22 characters.",
  })

export const createChargeBody = z
  .strictObject({
    customer: id.min(1).optional(),
    sponsor: z.string().min(1).max(200).optional().meta({
      description: 'Id, slug or external id of the sponsor; instead of `customer`.',
    }),
    amount: amount.meta({ description: "In minor units of the conference's currency." }),
    description: z.string().trim().min(1).max(500),
    payment_method: paymentMethod.optional().meta({
      description: "A saved payment method. Default: the customer's default when it is charged.",
    }),
    statement_descriptor_suffix: statementSuffix.optional(),
    comment: z.string().trim().min(1).max(2_000).optional(),
    source_reference: reference.optional().meta({
      description: 'Reference in another system. Unique among the charges of the conference.',
    }),
    manual: z.boolean().default(false).meta({ description: '`charges:run` skips manual charges.' }),
    success_url: url.optional().meta({
      description:
        'With `cancel_url`: if the bank requires the cardholder to authenticate, a Checkout page is opened automatically.',
    }),
    cancel_url: url.optional(),
    metadata: metadataInput.optional(),
  })
  .refine(({ customer, sponsor }) => (customer === undefined) !== (sponsor === undefined), {
    path: ['customer'],
    message: 'Set either customer or sponsor, not both.',
  })
  .refine((body) => (body.success_url === undefined) === (body.cancel_url === undefined), {
    path: ['cancel_url'],
    message: 'Set both success_url and cancel_url, or neither.',
  })
  .meta({ id: 'CreateCharge' })

export const chargeNowBody = z.strictObject({
  payment_method: paymentMethod.optional().meta({
    description: "Default: the charge's payment method, else the customer's default.",
  }),
})

export const refundChargeBody = z.strictObject({
  amount: amount
    .optional()
    .meta({ description: 'In minor units. Default: the amount that is not refunded yet.' }),
  reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
})

export const chargeQuery = z.strictObject({
  ...pageQuery,
  status: z.enum(CHARGE_STATUSES).optional(),
  sponsor: z.string().min(1).max(200).optional(),
  source_reference: reference.optional(),
  manual: z.stringbool().meta({ type: 'boolean' }).optional(),
})

const failure = z.object({ code: z.string(), message: z.string() })

export const chargeSchema = z
  .object({
    id: z.string(),
    object: z.literal('charge'),
    customer: z.string(),
    sponsor: z.string(),
    status: z.enum(CHARGE_STATUSES),
    amount: z.int(),
    currency: z.string(),
    amount_received: z.int(),
    amount_refunded: z
      .int()
      .meta({ description: 'The sum of the refunds that Stripe has confirmed.' }),
    amount_refunding: z
      .int()
      .meta({ description: 'The sum of the refunds that are requested or pending.' }),
    description: z.string(),
    statement_descriptor_suffix: z.string().nullable(),
    comment: z.string().nullable(),
    source_reference: z.string().nullable(),
    manual: z.boolean(),
    payment_method: z.string().nullable(),
    payment_intent: z
      .string()
      .nullable()
      .meta({ description: 'The payment intent that paid the charge.' }),
    failure: failure.nullable(),
    attempts: z.int().meta({ description: 'Number of payment attempts so far.' }),
    checkout: z
      .object({ session_id: z.string(), url: z.string().nullable(), expires_at: timestamp })
      .nullable()
      .meta({ description: 'The open Checkout page where the payer can pay.' }),
    metadata: z.record(z.string(), z.string()),
    created_by: z.string(),
    created_at: timestamp,
    updated_at: timestamp,
    succeeded_at: timestamp.nullable(),
  })
  .meta({ id: 'Charge' })

export const chargePage = pageOf(chargeSchema).meta({ id: 'ChargePage' })

export type ChargeBody = z.infer<typeof chargeSchema>

/** @throws AppError `not_found` */
export async function viewCharge(trx: Tx, ref: ChargeRef): Promise<ChargeBody> {
  return toChargeBody(await getCharge(trx, ref))
}

export function toChargeBody({ charge, records }: ChargeAggregate): ChargeBody {
  const last = records.attempts.at(-1)
  return {
    id: charge.id,
    object: 'charge',
    customer: charge.customerId,
    sponsor: charge.sponsorId,
    status: charge.status,
    amount: charge.amount,
    currency: charge.currency,
    amount_received: charge.amountReceived,
    amount_refunded: charge.amountRefunded,
    amount_refunding: charge.amountRefunding,
    description: charge.description,
    statement_descriptor_suffix: charge.statementDescriptorSuffix,
    comment: charge.comment,
    source_reference: charge.sourceReference,
    manual: charge.manual,
    payment_method: charge.paymentMethod,
    payment_intent: charge.paymentIntentId,
    failure: charge.failure,
    attempts: last?.attempt ?? 0,
    checkout: openCheckoutOf(last),
    metadata: charge.metadata,
    created_by: charge.createdBy,
    created_at: toTimestamp(charge.createdAt),
    updated_at: toTimestamp(charge.updatedAt),
    succeeded_at: toTimestamp(charge.succeededAt),
  }
}

function openCheckoutOf(attempt: PaymentAttempt | undefined): ChargeBody['checkout'] {
  if (attempt?.kind !== 'checkout' || attempt.state !== 'open') return null
  const { sessionId, url, expiresAt } = attempt
  if (sessionId === null || expiresAt === null) return null
  return { session_id: sessionId, url, expires_at: toTimestamp(expiresAt) }
}

import { z } from 'zod'
import { voucherConfigFields } from '../catalog/catalog-items.ts'
import {
  amount,
  conferenceParams,
  id,
  pageOf,
  pageQuery,
  stripeId,
} from '../http/common-schemas.ts'
import { type OutsidePayment, RECORDED_METHODS } from '../payments/payment-records.ts'
import { moment, timestamp } from '../shared/time.ts'
import { VOUCHER_TYPES } from '../vouchers/voucher-terms.ts'
import type { NewPurchaseInput } from './create-purchase.ts'
import { PURCHASE_ACTIONS } from './purchase-aggregate.ts'
import { FLAG_CODES, PURCHASE_STATUSES } from './purchase-machine.ts'

export const purchaseParams = conferenceParams.extend({ purchase: id })

const quantity = z
  .int()
  .min(1)
  .max(1_000_000)
  .meta({ description: 'Number of vouchers.', example: 40 })
const reference = z
  .string()
  .trim()
  .min(1)
  .max(200)
  .meta({ description: "The buyer's own reference, such as an order number." })
const description = z.string().trim().min(1).max(300)
const voucherConfig = z
  .strictObject(voucherConfigFields)
  .partial()
  .refine(
    ({ voucher_type: type, discount_value: discount }) =>
      type === undefined || type === 'comp' || discount !== undefined,
    { path: ['discount_value'], message: 'is required for this voucher_type' },
  )
  .meta({ id: 'SetVoucherConfig' })

export const createPurchaseBody = z
  .strictObject({
    ticket_type: id.optional(),
    add_on: id.optional(),
    quantity,
    reference: reference.nullish(),
    sponsor: z
      .string()
      .max(200)
      .optional()
      .meta({ description: 'Staff only: id, slug or external id.' }),
    unit_amount: amount.optional().meta({ description: 'Staff only.' }),
    description: description.optional(),
    voucher_config: voucherConfig.optional(),
  })
  .refine((body) => body.ticket_type === undefined || body.add_on === undefined, {
    path: ['add_on'],
    message: 'cannot be combined with ticket_type',
  })

/** The body of a request as the service takes it. */
export function toNewPurchaseInput(body: z.output<typeof createPurchaseBody>): NewPurchaseInput {
  return {
    item: itemOf(body),
    quantity: body.quantity,
    reference: body.reference ?? null,
    sponsor: body.sponsor ?? null,
    unitAmount: body.unit_amount ?? null,
    description: body.description ?? null,
    terms: body.voucher_config ?? null,
  }
}

function itemOf(body: { ticket_type?: string | undefined; add_on?: string | undefined }) {
  if (body.ticket_type !== undefined) return { kind: 'ticket_type' as const, id: body.ticket_type }
  if (body.add_on !== undefined) return { kind: 'add_on' as const, id: body.add_on }
  return null
}

export const updatePurchaseBody = z
  .strictObject({
    quantity,
    reference: reference.nullable(),
    unit_amount: amount,
    description,
    voucher_config: voucherConfig,
  })
  .partial()

/** Orders of the list. Each follows an index, in its direction or against it. */
export const PURCHASE_SORTS = ['newest', 'oldest'] as const

export const listPurchasesQuery = z.strictObject({
  ...pageQuery,
  status: z.enum(PURCHASE_STATUSES).optional(),
  flag: z.enum([...FLAG_CODES, 'any']).optional(),
  sponsor: z.string().max(200).optional(),
  ticket_type: id.optional(),
  created_after: moment.optional(),
  created_before: moment.optional(),
  sort: z.enum(PURCHASE_SORTS).default('newest').meta({ description: 'By the time of creation.' }),
  q: z.string().trim().min(1).max(100).optional().meta({
    description:
      'Searches id, description, reference, sponsor and payment intent. A whole voucher code finds its purchase, if the key may read vouchers.',
  }),
})

export const listAllPurchasesQuery = listPurchasesQuery.extend({
  conference: id.optional().meta({
    description: 'Slug or id. Default: all conferences; `sponsor` and `ticket_type` need one.',
  }),
})

export const payBody = z.strictObject({
  payment_method: stripeId.optional().meta({
    description: "A saved payment method of the sponsor. Default: the customer's default.",
  }),
})

export const resolveFlagBody = z.strictObject({
  code: z.enum(FLAG_CODES),
  note: z.string().trim().min(1).max(2_000),
  action: z.enum(['accept_payment', 'reinstate']).optional(),
  payment_intent: stripeId.optional().meta({
    description:
      'With `accept_payment`: the payment to accept. Required if several payments of another amount wait for a decision.',
  }),
})

export const approveBody = z
  .strictObject({
    quantity: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .meta({ description: 'The quantity that you approve.' }),
  })
  .meta({ id: 'PurchaseApproval' })

export const staffNote = z
  .string()
  .trim()
  .min(1)
  .max(2_000)
  .meta({ description: 'Kept in the history. Sponsors do not see it.' })

export const revokeBody = z
  .strictObject({ note: staffNote.optional() })
  .meta({ id: 'PurchaseRevocation' })

export const markPaidBody = z
  .strictObject({
    amount: z
      .int()
      .min(1)
      .max(99_999_999)
      .meta({ description: 'Minor units. It must be the total of the purchase.' }),
    method: z.enum(RECORDED_METHODS),
    reference: z
      .string()
      .trim()
      .min(1)
      .max(200)
      .meta({ description: 'What the bank statement, cheque or receipt says.' }),
    paid_at: moment.optional().meta({ description: 'When the money came. Default: now.' }),
    note: staffNote.optional(),
  })
  .meta({ id: 'RecordPayment' })

/** The body of a request as the service takes it. */
export function toOutsidePayment(body: z.output<typeof markPaidBody>): OutsidePayment {
  const { amount, method, reference, paid_at: paidAt, note: text = null } = body
  const received = paidAt === undefined ? null : new Date(paidAt)
  return { amount, method, reference, note: text, paidAt: received }
}

export const reconcileBody = z.strictObject({
  payment_intent: stripeId.optional().meta({
    description:
      "A payment that is not part of the purchase yet. It is added if its metadata at Stripe contains this purchase's purchase_id and conference_id.",
  }),
})

const checkoutSchema = z
  .object({
    session_id: z.string().nullable(),
    url: z.string().nullable(),
    expires_at: timestamp.nullable(),
    attempt: z.int(),
  })
  .meta({ id: 'PurchaseCheckout' })

export const actorName = z.string().nullable().meta({
  description: "The key's name, also of a revoked key. A sponsor sees the names of its own keys.",
})

export const purchaseSchema = z
  .object({
    id: z.string(),
    object: z.literal('bulk_purchase'),
    conference: z.string(),
    sponsor: z.string().nullable(),
    sponsor_name: z.string().nullable(),
    status: z.enum(PURCHASE_STATUSES),
    quantity: z.int(),
    unit_amount: z.int(),
    total_amount: z.int(),
    amount_received: z.int(),
    amount_refunded: z.int(),
    currency: z.string(),
    description: z.string(),
    reference: z.string().nullable(),
    ticket_type: z.string().nullable(),
    add_on: z.string().nullable(),
    ticket_name: z.string().nullable().meta({ description: 'Of the ticket type or the add-on.' }),
    voucher_config: z
      .object({
        voucher_type: z.enum(VOUCHER_TYPES),
        discount_value: z.number(),
        max_uses: z.int(),
        valid_from: timestamp.nullable(),
        valid_until: timestamp.nullable(),
        unlocks_hidden_tickets: z.boolean(),
        prefix: z.string(),
      })
      .meta({ id: 'VoucherConfig' }),
    checkout: checkoutSchema.nullable(),
    payment_intent: z.string().nullable(),
    recorded_payment: z
      .object({
        id: z.string(),
        amount: z.int(),
        amount_refunded: z.int(),
        method: z.enum(RECORDED_METHODS),
        reference: z.string(),
        paid_at: timestamp,
      })
      .nullable()
      .meta({ id: 'RecordedPayment', description: 'A payment that came outside Stripe.' }),
    failure: z.object({ code: z.string(), message: z.string() }).nullable(),
    vouchers: z
      .object({
        issued: z.int(),
        active: z.int(),
        frozen: z.int(),
        deactivated: z.int(),
        redeemed: z.int(),
        remaining: z.int(),
      })
      .meta({ id: 'VoucherCounts' }),
    flags: z.array(
      z
        .object({ code: z.enum(FLAG_CODES), detail: z.string(), raised_at: timestamp })
        .meta({ id: 'PurchaseFlag' }),
    ),
    allowed_actions: z.array(z.enum(PURCHASE_ACTIONS)),
    requested_by: z.string(),
    requested_by_name: actorName,
    approved_by: z.string().nullable(),
    approved_by_name: actorName,
    created_at: timestamp,
    updated_at: timestamp,
    paid_at: timestamp.nullable(),
    refunded_at: timestamp.nullable(),
  })
  .meta({ id: 'Purchase' })

export const purchasePage = pageOf(purchaseSchema).meta({ id: 'PurchasePage' })

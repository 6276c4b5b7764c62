import { z } from 'zod'
import { voucherConfigFields } from '../catalog/catalog-items.ts'
import { conferenceParams, flag, id, pageOf, pageQuery } from '../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import { REDEMPTION_STATUSES, type Redemption } from './redemption.ts'
import { MAX_HOLD_SECONDS } from './redemption-holds.ts'
import { INVALID_REASONS, VOUCHER_STATES } from './voucher.ts'
import type { VoucherBatch } from './voucher-batch-store.ts'
import { VOUCHER_TYPES } from './voucher-terms.ts'

export const voucherCode = z.string().min(1).max(200).meta({
  id: 'VoucherCode',
  description:
    'The voucher code. Upper and lower case are the same; spaces and hyphens are ignored.',
  example: 'BULK-ACME-7KQ2M9XWPT4A',
})

export const codeParams = conferenceParams.extend({ code: voucherCode })
export const batchParams = conferenceParams.extend({ batch: id })
export const redemptionParams = conferenceParams.extend({ redemption: id })
export const vouchersOfPurchaseParams = conferenceParams.extend({ purchase: id })

export const voucherQuery = z.strictObject({
  ...pageQuery,
  code: voucherCode.optional(),
  state: z.enum(VOUCHER_STATES).optional(),
  purchase: id.optional(),
  batch: id.optional(),
  assigned_to: z.string().trim().min(1).max(254).optional().meta({
    description: "A person's e-mail address, in any case.",
  }),
  used: flag.optional().meta({ description: 'Whether the voucher was redeemed at least once.' }),
  q: z.string().trim().min(1).max(200).optional().meta({
    description:
      'A whole code, or part of the name or address of the person to whom a voucher is assigned. The newest assignment comes first.',
  }),
})

/** The filter and the page of a query, as the store takes them. */
export function toVoucherFilter(query: z.output<typeof voucherQuery>) {
  const { limit, cursor, purchase, batch, assigned_to: assignedTo, q, ...others } = query
  const filter = { ...others, purchaseId: purchase, batchId: batch, assignedTo, text: q }
  return { filter, page: { limit, cursor } }
}

const assignmentSchema = z
  .object({
    email: z.string(),
    name: z.string().nullable(),
    assigned_at: timestamp,
    sent_at: timestamp.nullable().meta({
      description:
        'When the mail server took the e-mail with the code. Null: it was not sent to this person.',
    }),
  })
  .meta({ id: 'Assignment' })

export const voucherSchema = z
  .object({
    code: z.string(),
    object: z.literal('voucher'),
    batch: z.string(),
    purchase: z.string().nullable(),
    state: z.enum(VOUCHER_STATES),
    valid: z.boolean().meta({ description: 'Whether it can be redeemed now.' }),
    invalid_reason: z.enum(INVALID_REASONS).nullable(),
    times_used: z.int(),
    uses_held: z.int().meta({
      description: 'Uses that are held now, while buyers check out. They count like used ones.',
    }),
    max_uses: z.int(),
    valid_from: timestamp.nullable(),
    valid_until: timestamp.nullable(),
    voucher_type: z.enum(VOUCHER_TYPES),
    discount_value: z.number().meta({
      description: "Percent, or minor units of the conference's currency.",
    }),
    unlocks_hidden_tickets: z.boolean(),
    ticket_type: z.string().nullable(),
    add_on: z.string().nullable(),
    assigned_to: assignmentSchema.nullable().meta({ description: 'Null: no one.' }),
    created_at: timestamp,
  })
  .meta({ id: 'Voucher' })

export const voucherPage = pageOf(voucherSchema).meta({ id: 'VoucherPage' })

const { voucher_type, discount_value, ...otherTerms } = voucherConfigFields

export const createBatchBody = z
  .strictObject({
    count: z.int().min(1).max(1_000_000).meta({
      description: "Number of vouchers; at most the conference's max_quantity.",
      example: 20,
    }),
    voucher_type,
    discount_value: discount_value.optional(),
    ...z.object(otherTerms).partial().shape,
    sponsor: z.string().max(200).optional().meta({ description: 'Id, slug or external id.' }),
    ticket_type: id.optional(),
    add_on: id.optional(),
  })
  .refine((body) => body.voucher_type === 'comp' || body.discount_value !== undefined, {
    path: ['discount_value'],
    message: 'is required for this voucher_type',
  })
  .meta({ id: 'CreateVoucherBatch' })

const BATCH_SOURCES = ['purchase', 'staff', 'comp'] as const

export const batchQuery = z.strictObject({
  ...pageQuery,
  source: z.enum(BATCH_SOURCES).optional().meta({
    description: '`comp`: the complimentary vouchers of a sponsor. `staff`: issued by staff.',
  }),
})

export const batchSchema = z
  .object({
    id: z.string(),
    object: z.literal('voucher_batch'),
    source: z.enum(BATCH_SOURCES),
    purchase: z.string().nullable(),
    sponsor: z.string().nullable(),
    count: z.int(),
    prefix: z.string(),
    voucher_type: z.enum(VOUCHER_TYPES),
    discount_value: z.number(),
    currency: z.string(),
    max_uses: z.int(),
    valid_from: timestamp.nullable(),
    valid_until: timestamp.nullable(),
    unlocks_hidden_tickets: z.boolean(),
    ticket_type: z.string().nullable(),
    add_on: z.string().nullable(),
    created_by: z.string(),
    created_at: timestamp,
    published_at: timestamp.nullable().meta({
      description: 'The time of publication. From then on, the codes can be used only at Stripe.',
    }),
  })
  .meta({ id: 'VoucherBatch' })

export const batchPage = pageOf(batchSchema).meta({ id: 'VoucherBatchPage' })

export function toBatchBody({ terms, ...batch }: VoucherBatch): z.infer<typeof batchSchema> {
  return {
    id: batch.id,
    object: 'voucher_batch',
    source: batch.source,
    purchase: batch.purchaseId,
    sponsor: batch.sponsorId,
    count: batch.count,
    prefix: terms.prefix,
    voucher_type: terms.voucherType,
    discount_value: terms.discountValue,
    currency: batch.currency,
    max_uses: terms.maxUses,
    valid_from: toTimestamp(terms.validFrom),
    valid_until: toTimestamp(terms.validUntil),
    unlocks_hidden_tickets: terms.unlocksHiddenTickets,
    ticket_type: batch.ticketTypeId,
    add_on: batch.addOnId,
    created_by: batch.createdBy,
    created_at: toTimestamp(batch.createdAt),
    published_at: toTimestamp(batch.publishedAt),
  }
}

const reference = z.string().trim().min(1).max(200).meta({
  description: 'Your own id of the order for which the voucher is used.',
  example: 'order-1042',
})

export const redeemBody = z
  .strictObject({
    reference,
    hold_seconds: z.int().min(1).max(MAX_HOLD_SECONDS).optional().meta({
      description:
        'Holds the use for so many seconds while the buyer checks out. Absent: the use is taken at once.',
      example: 900,
    }),
  })
  .meta({ id: 'RedeemVoucher' })

export const redemptionQuery = z.strictObject({
  ...pageQuery,
  voucher: voucherCode.optional(),
  purchase: id.optional(),
  reference: reference.optional(),
})

export const redemptionSchema = z
  .object({
    id: z.string(),
    object: z.literal('redemption'),
    voucher: z.string().meta({ description: 'The code.' }),
    batch: z.string(),
    purchase: z.string().nullable(),
    reference: z.string(),
    status: z.enum(REDEMPTION_STATUSES).meta({
      description:
        'held: the use counts until `expires_at`. redeemed: the use is taken. released: the use was given back. expired: the hold ended and was not confirmed.',
    }),
    redeemed_by: z.string(),
    created_at: timestamp,
    expires_at: timestamp.nullable().meta({
      description: 'When the hold ends or ended. Null: the use was not held.',
    }),
    confirmed_at: timestamp.nullable().meta({ description: 'When the hold was confirmed.' }),
    released_at: timestamp.nullable().meta({
      description: 'When the use became available again: it was given back, or its hold ended.',
    }),
    released_by: z.string().nullable(),
  })
  .meta({ id: 'Redemption' })

export const redemptionPage = pageOf(redemptionSchema).meta({ id: 'RedemptionPage' })

export function toRedemptionBody(redemption: Redemption): z.infer<typeof redemptionSchema> {
  return {
    id: redemption.id,
    object: 'redemption',
    voucher: redemption.code,
    batch: redemption.batchId,
    purchase: redemption.purchaseId,
    reference: redemption.reference,
    status: redemption.status,
    redeemed_by: redemption.redeemedBy,
    created_at: toTimestamp(redemption.createdAt),
    expires_at: toTimestamp(redemption.expiresAt),
    confirmed_at: toTimestamp(redemption.confirmedAt),
    released_at: toTimestamp(redemption.releasedAt),
    released_by: redemption.releasedBy,
  }
}

import { z } from 'zod'
import { flag, stripeId } from '../http/common-schemas.ts'
import { voucherCode } from '../vouchers/voucher-schemas.ts'
import { purchaseSchema } from './purchase-schemas.ts'
import type { PurchaseRefundInput, RefundPreview } from './refund-purchase.ts'

const ONE_OF = ['amount', 'quantity', 'codes'] as const

/** Codes that one refund can name. */
const MAX_CODES = 1_000

/** Codes that a preview shows. */
export const MAX_PREVIEWED_CODES = 1_000

export const refundBody = z
  .strictObject({
    payment_intent: stripeId
      .regex(
        /^(pi|rp)_/,
        'must be the id of a payment intent (pi_…) or of the recorded payment (rp_…)',
      )
      .optional()
      .meta({ description: 'Required if several payments could be refunded.' }),
    amount: z.int().min(1).max(99_999_999).optional().meta({
      description: 'Minor units. Default: the amount of the payment that is not refunded yet.',
    }),
    quantity: z.int().min(1).max(1_000_000).optional().meta({
      description: 'Refunds the price of this many vouchers.',
    }),
    codes: z.array(voucherCode).min(1).max(MAX_CODES).optional().meta({
      description:
        'Refunds the price of these vouchers. They become inactive before others, and are frozen from the request on.',
    }),
    reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
  })
  .superRefine((body, context) => {
    const [first, ...others] = ONE_OF.filter((name) => body[name] !== undefined)
    for (const name of others) {
      const message = `cannot be combined with ${first}`
      context.addIssue({ code: 'custom', path: [name], message })
    }
  })
  .meta({ id: 'PurchaseRefund' })

export const refundQuery = z.strictObject({
  dry_run: flag.default(false).meta({
    description:
      'Answers with what the refund would do, and does nothing. Uses no Idempotency-Key.',
  }),
})

/** The body of a request as the service takes it. */
export function toRefundInput(body: z.output<typeof refundBody> | null): PurchaseRefundInput {
  return {
    paymentIntent: body?.payment_intent ?? null,
    amount: body?.amount ?? null,
    quantity: body?.quantity ?? null,
    codes: body?.codes ?? null,
    reason: body?.reason ?? null,
  }
}

const refundPreviewSchema = z
  .object({
    object: z.literal('refund_preview'),
    payment_intent: z.string().meta({
      description: 'The payment that is refunded: pi_…, or rp_… if the refund would be booked.',
    }),
    amount: z.int(),
    currency: z.string(),
    quantity: z.int().meta({ description: 'How many vouchers would become inactive.' }),
    codes: z.array(z.string()).meta({ description: 'Their codes, at most 1,000.' }),
    has_more: z.boolean().meta({ description: 'Whether there are more codes than these.' }),
    missing: z.int().meta({
      description:
        'How many more must become inactive, but are redeemed: the refund would raise the flag `too_few_unredeemed`.',
    }),
  })
  .meta({ id: 'RefundPreview' })

export type RefundPreviewBody = z.infer<typeof refundPreviewSchema>

export const refundAnswer = z.union([purchaseSchema, refundPreviewSchema])

export function toRefundPreviewBody(preview: RefundPreview): RefundPreviewBody {
  return {
    object: 'refund_preview',
    payment_intent: preview.payment.paymentIntent,
    amount: preview.amount,
    currency: preview.currency,
    quantity: preview.quantity,
    codes: preview.codes,
    has_more: preview.quantity > preview.codes.length,
    missing: preview.missing,
  }
}

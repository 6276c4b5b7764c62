import { z } from 'zod'
import { optionalBody, timestamp, toTimestamp } from '../../../http/common-schemas.ts'
import {
  PUBLICATION_STATES,
  type Publication,
  type PublicationProgress,
} from './publication-store.ts'

export const publishBody = optionalBody(
  z
    .strictObject({
      products: z.array(z.string().min(1).max(255)).max(100).optional().meta({
        description:
          "Stripe's products that the codes are for. Required for a batch of one ticket type or add-on; an empty list lets its codes be used for everything.",
      }),
    })
    .meta({ id: 'PublishVoucherBatch' }),
)

const count = (description: string) => z.int().meta({ description })

export const publicationSchema = z
  .object({
    id: z.string(),
    object: z.literal('voucher_publication'),
    batch: z.string(),
    state: z.enum(PUBLICATION_STATES).meta({
      description:
        'running: the job works. done: Stripe was told everything. failed: Stripe refused the coupon; no code was made, and the codes are used here again.',
    }),
    coupon: z.string().meta({ description: "Stripe's id of the coupon that all codes stand for." }),
    total: count('Codes with uses left when they were published.'),
    published: count('Codes that are promotion codes by now.'),
    off: count('Promotion codes that are turned off, since the voucher is frozen or deactivated.'),
    pending: count('Codes about which Stripe has yet to be told something.'),
    failed: count('Codes that Stripe refused. Publish the batch again to try them once more.'),
    times_redeemed: count('Uses at Stripe, as the mirror has them.'),
    errors: z
      .array(z.object({ code: z.string(), detail: z.string() }))
      .meta({ description: 'A few of the codes that Stripe refused, in its words.' }),
    error: z.string().nullable().meta({ description: 'Why it failed.' }),
    published_by: z.string(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'VoucherPublication' })

export function toPublicationBody(
  publication: Publication,
  progress: PublicationProgress,
): z.infer<typeof publicationSchema> {
  return {
    id: publication.id,
    object: 'voucher_publication',
    batch: publication.batch_id,
    // Work that came later, such as a refund's, is work as well.
    state: publication.state === 'done' && progress.pending > 0 ? 'running' : publication.state,
    coupon: publication.coupon_id,
    ...progress,
    error: publication.error,
    published_by: publication.published_by,
    created_at: toTimestamp(publication.created_at),
    updated_at: toTimestamp(publication.updated_at),
  }
}

import { z } from 'zod'
import { optionalBody } from '../../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import { PUBLICATION_STATES, type PublicationView } from './publish-batch.ts'

export const publishBody = optionalBody(
  z
    .strictObject({
      products: z.array(z.string().min(1).max(255)).max(100).optional().meta({
        description:
          'The Stripe products that the codes apply to. Required for a batch of one ticket type or add-on. An empty list means all products.',
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
        'running: promotion codes are being created or changed. done: all promotion codes match their vouchers. failed: Stripe refused the coupon; no promotion code was created, and the codes can be redeemed here again.',
    }),
    coupon: z
      .string()
      .meta({ description: "Stripe's id of the coupon that all promotion codes use." }),
    total: count('Codes that had remaining uses when the batch was published.'),
    published: count('Codes that have a promotion code.'),
    off: count('Inactive promotion codes: their voucher is frozen or deactivated.'),
    pending: count('Codes whose promotion code must still be created or changed.'),
    failed: count('Codes that Stripe refused. Publish the batch again to retry them.'),
    times_redeemed: count('Uses at Stripe, from the mirror.'),
    errors: z
      .array(z.object({ code: z.string(), detail: z.string() }))
      .meta({ description: 'Up to 10 of the refused codes, with the reason from Stripe.' }),
    error: z.string().nullable().meta({ description: 'Why the publication failed.' }),
    published_by: z.string(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'VoucherPublication' })

export function toPublicationBody({
  publication,
  progress,
}: PublicationView): z.infer<typeof publicationSchema> {
  return {
    id: publication.id,
    object: 'voucher_publication',
    batch: publication.batch_id,
    // A later change of a voucher, for example by a refund, makes work for the publication again.
    state: publication.state === 'done' && progress.pending > 0 ? 'running' : publication.state,
    coupon: publication.coupon_id,
    ...progress,
    error: publication.error,
    published_by: publication.published_by,
    created_at: toTimestamp(publication.created_at),
    updated_at: toTimestamp(publication.updated_at),
  }
}

import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { callerOf } from '../../http/access-control.ts'
import { optionalBody } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { notFound } from '../../shared/errors.ts'
import { type Clock, timestamp, toTimestamp } from '../../shared/time.ts'
import { getBatch } from '../../vouchers/voucher-batch-store.ts'
import { batchParams } from '../../vouchers/voucher-schemas.ts'
import {
  findPublication,
  PUBLICATION_STATES,
  type Publication,
  type PublicationProgress,
  progressOf,
  publishBatch,
} from './publish-batch.ts'

const BATCH = '/v1/conferences/:conference/voucher-batches/:batch'
const tags = ['Coupons']

/** `C/voucher-batches/{batch}/publish` and `…/publication`, its progress. */
export function publicationRoutes(app: App, deps: RouteDeps & { clock: Clock }): void {
  app.post(
    `${BATCH}/publish`,
    {
      config: { access: { anyOf: ['billing:write'] } },
      schema: {
        operationId: 'publishVoucherBatch',
        summary: 'Publish a batch as Stripe promotion codes',
        description:
          'The batch can have at most 1,000 codes. Published codes work in any Stripe checkout and can no longer be redeemed here. A code with several uses is published with its remaining uses. Publishing a batch again retries the codes that Stripe refused.',
        tags,
        params: batchParams,
        body: publishBody,
        response: { 202: publicationSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { batch } = request.params
      const body = await deps.idempotency.run(request, async (trx) => {
        const input = { products: request.body.products }
        await publishBatch(trx, caller, batch, input, deps.clock.now())
        return view(trx, caller.conferenceId, batch)
      })
      return reply.code(202).send(body)
    },
  )

  app.get(
    `${BATCH}/publication`,
    {
      config: { access: { anyOf: ['billing:write', 'vouchers:read'] } },
      schema: {
        operationId: 'getVoucherPublication',
        summary: 'Get the publication of a batch',
        tags,
        params: batchParams,
        response: { 200: publicationSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(deps.db, { conferenceId }, (trx) =>
        view(trx, conferenceId, request.params.batch),
      )
    },
  )
}

async function view(trx: Tx, conferenceId: string, batchId: string) {
  await getBatch(trx, conferenceId, batchId, null)
  const publication = await findPublication(trx, { conferenceId, batchId })
  if (publication === null) throw notFound('publication: the batch was never published')
  return toPublicationBody(publication, await progressOf(trx, conferenceId, publication.id))
}

const publishBody = optionalBody(
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

const publicationSchema = z
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

function toPublicationBody(
  publication: Publication,
  progress: PublicationProgress,
): z.infer<typeof publicationSchema> {
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

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

/** `C/voucher-batches/{batch}/publish` and how far that is. */
export function publicationRoutes(app: App, deps: RouteDeps & { clock: Clock }): void {
  app.post(
    `${BATCH}/publish`,
    {
      config: { access: { anyOf: ['billing:write'] } },
      schema: {
        operationId: 'publishVoucherBatch',
        summary: "Publish a batch as Stripe's promotion codes",
        description:
          'At most 1,000 codes. From now on they can be used in any Stripe checkout, and no longer redeemed here. Codes that were used here in part are published with the uses that are left.',
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
        summary: 'See how far the publication of a batch is',
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
          "Stripe's products that the codes are for. Required for a batch of one ticket type or add-on; an empty list lets its codes be used for everything.",
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

function toPublicationBody(
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

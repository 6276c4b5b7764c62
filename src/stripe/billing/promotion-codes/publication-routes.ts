import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { callerOf } from '../../../http/caller.ts'
import type { App, RouteDeps } from '../../../http/route-deps.ts'
import type { Clock } from '../../../shared/clock.ts'
import { notFound } from '../../../shared/errors.ts'
import { getBatch } from '../../../vouchers/voucher-batch-store.ts'
import { batchParams } from '../../../vouchers/voucher-schemas.ts'
import { publicationSchema, publishBody, toPublicationBody } from './publication-schemas.ts'
import { findPublication, progressOf } from './publication-store.ts'
import { publishBatch } from './publish-batch.ts'

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
      const body = await deps.answers.once(request, async (trx) => {
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

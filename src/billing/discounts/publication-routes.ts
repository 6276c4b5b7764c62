import { withTenant } from '../../db/tenant-scope.ts'
import { callerOf } from '../../http/access-control.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import type { Clock } from '../../shared/time.ts'
import { batchParams } from '../../vouchers/voucher-schemas.ts'
import { publicationSchema, publishBody, toPublicationBody } from './publication-schemas.ts'
import { getPublication, publishBatch } from './publish-batch.ts'

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
        return toPublicationBody(await getPublication(trx, caller.conferenceId, batch))
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
      return withTenant(deps.db, { conferenceId }, async (trx) =>
        toPublicationBody(await getPublication(trx, conferenceId, request.params.batch)),
      )
    },
  )
}

import { withTenant } from '../../db/tenant-scope.ts'
import type { AccessRule } from '../../http/access-rule.ts'
import { callerOf } from '../../http/caller.ts'
import { mapPage } from '../../http/pages.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { listDeliveries, replayDelivery } from './delivery-store.ts'
import {
  deliveryPage,
  deliveryParams,
  deliveryQuery,
  deliverySchema,
  toDeliveryBody,
} from './webhook-delivery-schemas.ts'
import { endpointParams } from './webhook-endpoint-schemas.ts'

const PATH = '/v1/conferences/:conference/webhook-endpoints/:id/deliveries'
const access: AccessRule = { anyOf: ['settings:write'] }
const tags = ['Outgoing webhooks']

/** `C/webhook-endpoints/{id}/deliveries`: what an endpoint was told and what became of it. */
export function webhookDeliveryRoutes(app: App, deps: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'List what an endpoint was told',
        description: 'Finished deliveries are kept for 30 days.',
        tags,
        params: endpointParams,
        querystring: deliveryQuery,
        response: { 200: deliveryPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { state, type, ...page } = request.query
      const deliveries = await withTenant(deps.db, { conferenceId }, (trx) =>
        listDeliveries(trx, conferenceId, request.params.id, { state, type }, page),
      )
      return mapPage(deliveries, toDeliveryBody)
    },
  )

  app.post(
    `${PATH}/:delivery/replay`,
    {
      config: { access },
      schema: {
        operationId: 'replayWebhookDelivery',
        summary: 'Send a webhook again',
        description:
          'For one that failed, or that the receiver lost. It keeps its `webhook-id`, so a receiver that has it already can tell.',
        tags,
        params: deliveryParams,
        response: { 200: deliverySchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { id, delivery } = request.params
      return deps.answers.once(request, async (trx) =>
        toDeliveryBody(await replayDelivery(trx, conferenceId, id, delivery)),
      )
    },
  )
}

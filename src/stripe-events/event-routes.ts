import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { listEvents, replayEvent } from './event-inbox.ts'
import {
  eventParams,
  eventQuery,
  stripeEventPage,
  stripeEventSchema,
  toStripeEventBody,
} from './event-schemas.ts'

const PATH = '/v1/conferences/:conference/stripe/events'
const access: AccessRule = { anyOf: ['stripe:sync'] }
const tags = ['Stripe']

/** `C/stripe/events`: the stored Stripe events and their status. */
export function eventRoutes(app: App, deps: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'listStripeEvents',
        summary: 'List Stripe events',
        tags,
        params: conferenceParams,
        querystring: eventQuery,
        response: { 200: stripeEventPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { status, type, ...page } = request.query
      const read = await deps.reads.of(request)
      const events = await read((db) =>
        withTenant(db, { conferenceId }, (trx) =>
          listEvents(trx, conferenceId, { status, type }, page),
        ),
      )
      return mapPage(events, toStripeEventBody)
    },
  )

  app.post(
    `${PATH}/:event/replay`,
    {
      config: { access },
      schema: {
        operationId: 'replayStripeEvent',
        summary: 'Replay an event',
        description:
          'Processes an event again that is failed, ignored or done. This is always safe: the objects are fetched from Stripe again.',
        tags,
        params: eventParams,
        response: { 200: stripeEventSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      return deps.idempotency.run(request, async (trx) =>
        toStripeEventBody(await replayEvent(trx, conferenceId, request.params.event)),
      )
    },
  )
}

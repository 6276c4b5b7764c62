import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import {
  eventParams,
  eventQuery,
  stripeEventPage,
  stripeEventSchema,
  toStripeEventBody,
} from './event-schemas.ts'
import { listEvents, replayEvent } from './event-store.ts'

const PATH = '/v1/conferences/:conference/stripe/events'
const access: AccessRule = { anyOf: ['stripe:sync'] }
const tags = ['Stripe']

/** `C/stripe/events`: what Stripe told us and what became of it. */
export function eventRoutes(app: App, deps: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'listStripeEvents',
        summary: "List Stripe's events",
        tags,
        params: conferenceParams,
        querystring: eventQuery,
        response: { 200: stripeEventPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { status, type, ...page } = request.query
      const events = await withTenant(deps.db, { conferenceId }, (trx) =>
        listEvents(trx, conferenceId, { status, type }, page),
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
        summary: 'Work on an event again',
        description: 'For one that failed, or that was ignored or done by mistake of ours.',
        tags,
        params: eventParams,
        response: { 200: stripeEventSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      return deps.answers.once(request, async (trx) =>
        toStripeEventBody(await replayEvent(trx, conferenceId, request.params.event)),
      )
    },
  )
}

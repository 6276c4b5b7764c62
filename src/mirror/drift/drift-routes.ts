import { withTenant } from '../../db/tenant-scope.ts'
import { callerOf } from '../../http/access-control.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { driftPage, driftQuery, toDriftBody } from './drift-schemas.ts'
import { listMirrorDrift } from './mirror-drift.ts'

/** `C/stripe/drift`: purchases, payments, refunds and disputes here against the mirror. */
export function driftRoutes(app: App, { db }: Pick<RouteDeps, 'db'>): void {
  app.get(
    '/v1/conferences/:conference/stripe/drift',
    {
      config: { access: { anyOf: ['stripe:sync'] } },
      schema: {
        operationId: 'listStripeDrift',
        summary: 'Compare purchases with the mirror',
        description:
          'Each difference with what repairs it. Asks Stripe nothing, so look at `mirror` first: what was never synced cannot be compared with. What is under way may show up for a moment.',
        tags: ['Stripe mirror'],
        params: conferenceParams,
        querystring: driftQuery,
        response: { 200: driftPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { kind, purchase, ...page } = request.query
      const subject = { conferenceId, conference: request.params.conference }
      const query = { kind, purchase }
      return toDriftBody(
        await withTenant(db, subject, (trx) => listMirrorDrift(trx, subject, query, page)),
      )
    },
  )
}

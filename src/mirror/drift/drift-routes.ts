import { withTenant } from '../../db/tenant-scope.ts'
import { callerOf } from '../../http/access-control.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { driftPage, driftQuery, toDriftBody } from './drift-schemas.ts'
import { listMirrorDrift } from './mirror-drift.ts'

/** `C/stripe/drift`: compares purchases, payments, refunds and disputes with the mirror. */
export function driftRoutes(app: App, { db }: Pick<RouteDeps, 'db'>): void {
  app.get(
    '/v1/conferences/:conference/stripe/drift',
    {
      config: { access: { anyOf: ['stripe:sync'] } },
      schema: {
        operationId: 'listStripeDrift',
        summary: 'Compare purchases with the mirror',
        description:
          'Lists each difference with its repair. Sends no request to Stripe: check `mirror` first, because the comparison needs a full sync of each resource. Operations in flight can appear for a moment.',
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

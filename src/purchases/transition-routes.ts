import { z } from 'zod'
import { withTenant } from '../db/tenant-scope.ts'
import { callerOf } from '../http/caller.ts'
import { mapPage, pageQuery } from '../http/pages.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { notFound } from '../shared/errors.ts'
import { listTransitions } from './purchase-history.ts'
import { purchaseParams, transitionPage } from './purchase-schemas.ts'
import { findPurchase } from './purchase-store.ts'
import { toTransitionBody } from './transition-view.ts'

/** The history of a purchase: what happened, when, and who or what caused it. */
export function transitionRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/v1/conferences/:conference/purchases/:purchase/transitions',
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'listPurchaseTransitions',
        summary: 'List what happened to a purchase',
        tags: ['Purchases'],
        params: purchaseParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: transitionPage },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const ref = { conferenceId: caller.conferenceId, purchaseId: request.params.purchase }
      const page = await withTenant(deps.db, caller, async (trx) => {
        const purchase = await findPurchase(trx, ref, caller.sponsorId)
        if (purchase === null) throw notFound('purchase')
        return listTransitions(trx, ref, request.query)
      })
      return mapPage(page, toTransitionBody)
    },
  )
}

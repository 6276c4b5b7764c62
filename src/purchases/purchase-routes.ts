import { withTenant } from '../db/tenant-scope.ts'
import { callerOf } from '../http/caller.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { Clock } from '../shared/clock.ts'
import type { BulkPurchaseService } from './bulk-purchase-service.ts'
import { listPurchases } from './list-purchases.ts'
import {
  createPurchaseBody,
  listPurchasesQuery,
  purchasePage,
  purchaseParams,
  purchaseSchema,
  updatePurchaseBody,
} from './purchase-schemas.ts'
import { viewPurchase } from './purchase-view.ts'
import type { ReconcileRequests } from './request-reconcile.ts'
import { changePurchase } from './update-purchase.ts'

const tags = ['Purchases']

/** Creating, changing and looking at purchases. */
export function purchaseRoutes(
  app: App,
  deps: RouteDeps & {
    clock: Clock
    purchases: BulkPurchaseService
    reconcileRequests: ReconcileRequests
  },
): void {
  app.post(
    '/v1/conferences/:conference/purchases',
    {
      config: { access: { anyOf: ['purchases:write'], sponsor: true } },
      schema: {
        operationId: 'createPurchase',
        summary: 'Order vouchers in bulk',
        description:
          "Snapshots the item's price and voucher terms. Only staff may set a price or terms of their own, or buy for a sponsor.",
        tags,
        params: conferenceParams,
        body: createPurchaseBody,
        response: { 201: purchaseSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { body } = request
      const created = await deps.answers.once(request, async (trx) => {
        const purchase = await deps.purchases.createBulkPurchase(trx, caller, {
          item: itemOf(body),
          quantity: body.quantity,
          reference: body.reference ?? null,
          sponsor: body.sponsor ?? null,
          unitAmount: body.unit_amount ?? null,
          description: body.description ?? null,
          terms: body.voucher_config ?? null,
        })
        return viewPurchase(trx, caller, purchase.id)
      })
      return reply.code(201).send(created)
    },
  )

  app.get(
    '/v1/conferences/:conference/purchases',
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'listPurchases',
        summary: 'List purchases',
        tags,
        params: conferenceParams,
        querystring: listPurchasesQuery,
        response: { 200: purchasePage },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      return withTenant(deps.db, caller, (trx) => listPurchases(trx, caller, request.query))
    },
  )

  app.get(
    '/v1/conferences/:conference/purchases/:purchase',
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'getPurchase',
        summary: 'Get a purchase',
        tags,
        params: purchaseParams,
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      return withTenant(deps.db, caller, async (trx) => {
        const body = await viewPurchase(trx, caller, request.params.purchase)
        if (body.status === 'PROCESSING') await deps.reconcileRequests.onView(trx, caller, body)
        return body
      })
    },
  )

  app.patch(
    '/v1/conferences/:conference/purchases/:purchase',
    {
      config: { access: { anyOf: ['purchases:write'], sponsor: true } },
      schema: {
        operationId: 'updatePurchase',
        summary: 'Change a purchase before its checkout',
        tags,
        params: purchaseParams,
        body: updatePurchaseBody,
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      return deps.answers.once(request, async (trx) => {
        await changePurchase(trx, deps, caller, purchase, request.body)
        return viewPurchase(trx, caller, purchase)
      })
    },
  )
}

function itemOf(body: { ticket_type?: string | undefined; add_on?: string | undefined }) {
  if (body.ticket_type !== undefined) return { kind: 'ticket_type' as const, id: body.ticket_type }
  if (body.add_on !== undefined) return { kind: 'add_on' as const, id: body.add_on }
  return null
}

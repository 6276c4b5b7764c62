import { withTenant } from '../db/tenant-scope.ts'
import { type Caller, callerOf } from '../http/caller.ts'
import { toTimestamp } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { notFound } from '../shared/errors.ts'
import { approveComp } from './approve-comp.ts'
import type { BulkPurchaseService, ServiceDeps } from './bulk-purchase-service.ts'
import { beginCancel, finishCancel } from './cancel-purchase.ts'
import { beginCheckout, finishCheckout } from './checkout-purchase.ts'
import {
  checkoutAnswer,
  checkoutBody,
  emptyBody,
  purchaseParams,
  purchaseSchema,
  refundBody,
  resolveFlagBody,
} from './purchase-schemas.ts'
import { findPurchase } from './purchase-store.ts'
import { viewPurchase } from './purchase-view.ts'
import { reconcilePurchase } from './reconcile.ts'
import { beginRefund, finishRefund } from './refund-purchase.ts'
import { resolveFlag } from './resolve-flag.ts'

const tags = ['Purchases']
const PURCHASE = '/v1/conferences/:conference/purchases/:purchase'

/** What moves a purchase: each is one step of the machine, or asks Stripe for one. */
export function purchaseActionRoutes(
  app: App,
  deps: RouteDeps & ServiceDeps & { purchases: BulkPurchaseService },
): void {
  const view = (caller: Caller, purchase: string) =>
    withTenant(deps.db, caller, (trx) => viewPurchase(trx, caller, purchase))

  app.post(
    `${PURCHASE}/checkout`,
    {
      config: { access: { anyOf: ['purchases:write'], sponsor: true } },
      schema: {
        operationId: 'checkoutPurchase',
        summary: 'Open the payment page',
        description:
          'The same URLs again give the same session; other URLs close it and open another. Allowed again after FAILED.',
        tags,
        params: purchaseParams,
        body: checkoutBody,
        response: { 200: checkoutAnswer },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      const ref = { conferenceId: caller.conferenceId, purchaseId: purchase }
      const urls = { successUrl: request.body.success_url, cancelUrl: request.body.cancel_url }
      return deps.answers.resumable(request, {
        begin: async (trx) => String(await beginCheckout(trx, deps, caller, purchase, urls)),
        finish: async (attempt) => {
          const cause = { actor: caller.actor, cause: 'checkout' }
          const open = await finishCheckout(deps, ref, Number(attempt), urls, cause)
          return { ...open, expires_at: toTimestamp(open.expires_at) }
        },
      })
    },
  )

  app.post(
    `${PURCHASE}/cancel`,
    {
      config: { access: { anyOf: ['purchases:write'], sponsor: true } },
      schema: {
        operationId: 'cancelPurchase',
        summary: 'Cancel an unpaid purchase',
        tags,
        params: purchaseParams,
        body: emptyBody,
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      const ref = { conferenceId: caller.conferenceId, purchaseId: purchase }
      return deps.answers.resumable(request, {
        begin: async (trx) => {
          await beginCancel(trx, caller, purchase)
          return purchase
        },
        finish: async () => {
          await finishCancel(deps, ref, { actor: caller.actor, cause: 'cancel' })
          return view(caller, purchase)
        },
      })
    },
  )

  app.post(
    `${PURCHASE}/approve`,
    {
      config: { access: { anyOf: ['purchases:write'] } },
      schema: {
        operationId: 'approvePurchase',
        summary: 'Give a free purchase its codes',
        tags,
        params: purchaseParams,
        body: emptyBody,
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      return deps.answers.once(request, async (trx) => {
        await approveComp(trx, caller, purchase)
        return viewPurchase(trx, caller, purchase)
      })
    },
  )

  app.post(
    `${PURCHASE}/reconcile`,
    {
      config: { access: { anyOf: ['purchases:write'] } },
      schema: {
        operationId: 'reconcilePurchase',
        summary: 'Read the purchase anew from Stripe',
        tags,
        params: purchaseParams,
        body: emptyBody,
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      const ref = { conferenceId: caller.conferenceId, purchaseId: purchase }
      return deps.answers.resumable(request, {
        begin: async (trx) => {
          if ((await findPurchase(trx, ref)) === null) throw notFound('purchase')
          return purchase
        },
        finish: async () => {
          const cause = { actor: caller.actor, cause: 'reconcile' }
          await reconcilePurchase(deps, ref, { cause, warnings: true })
          const body = await view(caller, purchase)
          // Staff's way to heal a batch that lacks codes: only the missing ones are made.
          const isShort = body.status === 'PAID' && body.vouchers.issued < body.quantity
          if (!isShort) return body
          await deps.purchases.fulfillBulkPurchase(ref)
          return view(caller, purchase)
        },
      })
    },
  )

  app.post(
    `${PURCHASE}/resolve-flag`,
    {
      config: { access: { anyOf: ['purchases:write'] } },
      schema: {
        operationId: 'resolvePurchaseFlag',
        summary: 'Close a flag for good',
        tags,
        params: purchaseParams,
        body: resolveFlagBody,
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      const { code, note, action } = request.body
      return deps.answers.once(request, async (trx) => {
        await resolveFlag(trx, caller, purchase, { code, note, action: action ?? null })
        return viewPurchase(trx, caller, purchase)
      })
    },
  )

  app.post(
    `${PURCHASE}/refund`,
    {
      config: { access: { anyOf: ['refunds:write'] } },
      schema: {
        operationId: 'refundPurchase',
        summary: 'Send money back',
        description: 'The codes follow what Stripe confirms: frozen while pending, then off.',
        tags,
        params: purchaseParams,
        body: refundBody.nullish(),
        response: { 200: purchaseSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { purchase } = request.params
      const ref = { conferenceId: caller.conferenceId, purchaseId: purchase }
      return deps.answers.resumable(request, {
        begin: (trx) =>
          beginRefund(trx, caller, purchase, {
            paymentIntent: request.body?.payment_intent ?? null,
            amount: request.body?.amount ?? null,
            reason: request.body?.reason ?? null,
          }),
        finish: async (refundRequest) => {
          await finishRefund(deps, ref, refundRequest, { actor: caller.actor, cause: 'refund' })
          return view(caller, purchase)
        },
      })
    },
  )
}

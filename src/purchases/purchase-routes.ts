import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { SavedCards } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { type Clock, toTimestamp } from '../shared/time.ts'
import {
  type BulkPurchaseService,
  reconcileAndComplete,
  type ServiceDeps,
} from './bulk-purchase-service.ts'
import { beginCancel, finishCancel } from './cancel-purchase.ts'
import { beginCheckout, finishCheckout } from './checkout-purchase.ts'
import { updatePurchaseOrder } from './create-purchase.ts'
import { beginPay, finishPay } from './pay-purchase.ts'
import {
  checkoutAnswer,
  checkoutBody,
  createPurchaseBody,
  emptyBody,
  listPurchasesQuery,
  payBody,
  purchasePage,
  purchaseParams,
  purchaseSchema,
  reconcileBody,
  refundBody,
  resolveFlagBody,
  transitionPage,
  updatePurchaseBody,
} from './purchase-schemas.ts'
import { findPurchase, listTransitions } from './purchase-store.ts'
import { listPurchases, toTransitionBody, viewPurchase } from './purchase-view.ts'
import type { ReconcileRequests } from './reconcile-purchase.ts'
import { beginRefund, finishRefund } from './refund-purchase.ts'
import { approveComp, resolveFlag } from './staff-decisions.ts'

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
      const created = await deps.idempotency.run(request, async (trx) => {
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
      return deps.idempotency.run(request, async (trx) => {
        await updatePurchaseOrder(trx, deps, caller, purchase, request.body)
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

const actionTags = ['Purchases']
const PURCHASE_PATH = '/v1/conferences/:conference/purchases/:purchase'

type Docs = { operationId: string; summary: string; description?: string }

/** What these routes have in common: the purchase in the path, and the purchase as the answer. */
function action<Body extends z.ZodType>(access: AccessRule, docs: Docs, body: Body) {
  return {
    config: { access },
    schema: {
      ...docs,
      tags: actionTags,
      params: purchaseParams,
      body,
      response: { 200: purchaseSchema },
    },
  }
}

/** Who acts on which purchase. */
function subject(request: FastifyRequest) {
  const caller = callerOf(request)
  // Validated by `purchaseParams`, which every route here has.
  const { purchase } = request.params as z.infer<typeof purchaseParams>
  return { caller, purchase, ref: { conferenceId: caller.conferenceId, purchaseId: purchase } }
}

type ActionDeps = RouteDeps & ServiceDeps & { purchases: BulkPurchaseService; cards: SavedCards }

/** What moves a purchase: each is one step of the machine, or asks Stripe for one. */
export function purchaseActionRoutes(app: App, deps: ActionDeps): void {
  checkoutRoute(app, deps)
  payRoute(app, deps)
  cancelRoute(app, deps)
  approveRoute(app, deps)
  reconcileRoute(app, deps)
  resolveFlagRoute(app, deps)
  refundRoute(app, deps)
}

const view = (deps: ActionDeps, caller: Caller, purchase: string) =>
  withTenant(deps.db, caller, (trx) => viewPurchase(trx, caller, purchase))

function checkoutRoute(app: App, deps: ActionDeps): void {
  app.post(
    `${PURCHASE_PATH}/checkout`,
    {
      config: { access: { anyOf: ['purchases:write'], sponsor: true } },
      schema: {
        operationId: 'checkoutPurchase',
        summary: 'Open the payment page',
        description:
          'The same URLs again give the same session; other URLs close it and open another. Allowed again after FAILED.',
        tags: actionTags,
        params: purchaseParams,
        body: checkoutBody,
        response: { 200: checkoutAnswer },
      },
    },
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      const urls = { successUrl: request.body.success_url, cancelUrl: request.body.cancel_url }
      return deps.idempotency.resume(request, {
        begin: async (trx) => String(await beginCheckout(trx, deps, caller, purchase, urls)),
        finish: async (attempt) => {
          const cause = { actor: caller.actor, cause: 'checkout' }
          const open = await finishCheckout(deps, ref, Number(attempt), urls, cause)
          return { ...open, expires_at: toTimestamp(open.expires_at) }
        },
      })
    },
  )
}

function payRoute(app: App, deps: ActionDeps): void {
  const docs = {
    operationId: 'payPurchase',
    summary: 'Pay with a saved card',
    description:
      "The sponsor's default card, or the one that is named, in place of the payment page; an open page is closed first. A decline fails the purchase, which is the answer then. When the bank wants the payer, nothing is charged and the answer is `authentication_required`: use checkout.",
  }
  app.post(
    `${PURCHASE_PATH}/pay`,
    action({ anyOf: ['purchases:write'], sponsor: true }, docs, payBody.nullish()),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      const named = request.body?.payment_method ?? null
      return deps.idempotency.resume(request, {
        begin: async (trx) => String(await beginPay(trx, caller, purchase, named)),
        finish: async (attempt) => {
          const cause = { actor: caller.actor, cause: 'pay' }
          await finishPay(deps, ref, Number(attempt), named, cause)
          return view(deps, caller, purchase)
        },
      })
    },
  )
}

function cancelRoute(app: App, deps: ActionDeps): void {
  const docs = { operationId: 'cancelPurchase', summary: 'Cancel an unpaid purchase' }
  app.post(
    `${PURCHASE_PATH}/cancel`,
    action({ anyOf: ['purchases:write'], sponsor: true }, docs, emptyBody),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      return deps.idempotency.resume(request, {
        begin: async (trx) => {
          await beginCancel(trx, caller, purchase)
          return purchase
        },
        finish: async () => {
          await finishCancel(deps, ref, { actor: caller.actor, cause: 'cancel' })
          return view(deps, caller, purchase)
        },
      })
    },
  )
}

function approveRoute(app: App, deps: ActionDeps): void {
  const docs = { operationId: 'approvePurchase', summary: 'Give a free purchase its codes' }
  app.post(
    `${PURCHASE_PATH}/approve`,
    action({ anyOf: ['purchases:write'] }, docs, emptyBody),
    async (request) => {
      const { caller, purchase } = subject(request)
      return deps.idempotency.run(request, async (trx) => {
        await approveComp(trx, caller, purchase)
        return viewPurchase(trx, caller, purchase)
      })
    },
  )
}

function reconcileRoute(app: App, deps: ActionDeps): void {
  const docs = { operationId: 'reconcilePurchase', summary: 'Read the purchase anew from Stripe' }
  app.post(
    `${PURCHASE_PATH}/reconcile`,
    action({ anyOf: ['purchases:write'] }, docs, reconcileBody.nullish()),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      const paymentIntent = request.body?.payment_intent ?? null
      return deps.idempotency.resume(request, {
        begin: async (trx) => {
          if ((await findPurchase(trx, ref)) === null) throw notFound('purchase')
          return purchase
        },
        finish: () => reconcileAndComplete(deps, caller, purchase, paymentIntent),
      })
    },
  )
}

function resolveFlagRoute(app: App, deps: ActionDeps): void {
  const docs = { operationId: 'resolvePurchaseFlag', summary: 'Close a flag for good' }
  app.post(
    `${PURCHASE_PATH}/resolve-flag`,
    action({ anyOf: ['purchases:write'] }, docs, resolveFlagBody),
    async (request) => {
      const { caller, purchase } = subject(request)
      const { code, note, action: step } = request.body
      return deps.idempotency.run(request, async (trx) => {
        await resolveFlag(trx, caller, purchase, { code, note, action: step ?? null })
        return viewPurchase(trx, caller, purchase)
      })
    },
  )
}

function refundRoute(app: App, deps: ActionDeps): void {
  const docs = {
    operationId: 'refundPurchase',
    summary: 'Send money back',
    description: 'The codes follow what Stripe confirms: frozen while pending, then off.',
  }
  app.post(
    `${PURCHASE_PATH}/refund`,
    action({ anyOf: ['refunds:write'] }, docs, refundBody.nullish()),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      return deps.idempotency.resume(request, {
        begin: (trx) =>
          beginRefund(trx, caller, purchase, {
            paymentIntent: request.body?.payment_intent ?? null,
            amount: request.body?.amount ?? null,
            reason: request.body?.reason ?? null,
          }),
        finish: async (refundRequest) => {
          await finishRefund(deps, ref, refundRequest, { actor: caller.actor, cause: 'refund' })
          return view(deps, caller, purchase)
        },
      })
    },
  )
}

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

import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-rule.ts'
import { type Caller, callerOf } from '../http/caller.ts'
import { toTimestamp } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { notFound } from '../shared/errors.ts'
import { approveComp } from './approve-comp.ts'
import type { BulkPurchaseService, ServiceDeps } from './bulk-purchase-service.ts'
import { beginCancel, finishCancel } from './cancel-purchase.ts'
import { beginCheckout, finishCheckout } from './checkout-purchase.ts'
import { beginPay, finishPay } from './pay-purchase.ts'
import type { SavedCards } from './payment-gateway.ts'
import {
  checkoutAnswer,
  checkoutBody,
  emptyBody,
  payBody,
  purchaseParams,
  purchaseSchema,
  reconcileBody,
  refundBody,
  resolveFlagBody,
} from './purchase-schemas.ts'
import { findPurchase } from './purchase-store.ts'
import { viewPurchase } from './purchase-view.ts'
import { reconcileAndComplete } from './reconcile-and-complete.ts'
import { beginRefund, finishRefund } from './refund-purchase.ts'
import { resolveFlag } from './resolve-flag.ts'

const tags = ['Purchases']
const PURCHASE = '/v1/conferences/:conference/purchases/:purchase'

type Docs = { operationId: string; summary: string; description?: string }

/** What these routes have in common: the purchase in the path, and the purchase as the answer. */
function action<Body extends z.ZodType>(access: AccessRule, docs: Docs, body: Body) {
  return {
    config: { access },
    schema: { ...docs, tags, params: purchaseParams, body, response: { 200: purchaseSchema } },
  }
}

/** Who acts on which purchase. */
function subject(request: FastifyRequest) {
  const caller = callerOf(request)
  // Validated by `purchaseParams`, which every route here has.
  const { purchase } = request.params as z.infer<typeof purchaseParams>
  return { caller, purchase, ref: { conferenceId: caller.conferenceId, purchaseId: purchase } }
}

type Deps = RouteDeps & ServiceDeps & { purchases: BulkPurchaseService; cards: SavedCards }

/** What moves a purchase: each is one step of the machine, or asks Stripe for one. */
export function purchaseActionRoutes(app: App, deps: Deps): void {
  checkoutRoute(app, deps)
  payRoute(app, deps)
  cancelRoute(app, deps)
  approveRoute(app, deps)
  reconcileRoute(app, deps)
  resolveFlagRoute(app, deps)
  refundRoute(app, deps)
}

const view = (deps: Deps, caller: Caller, purchase: string) =>
  withTenant(deps.db, caller, (trx) => viewPurchase(trx, caller, purchase))

function checkoutRoute(app: App, deps: Deps): void {
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
      const { caller, purchase, ref } = subject(request)
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
}

function payRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'payPurchase',
    summary: 'Pay with a saved card',
    description:
      "The sponsor's default card, or the one that is named, in place of the payment page; an open page is closed first. A decline fails the purchase, which is the answer then. When the bank wants the payer, nothing is charged and the answer is `authentication_required`: use checkout.",
  }
  app.post(
    `${PURCHASE}/pay`,
    action({ anyOf: ['purchases:write'], sponsor: true }, docs, payBody.nullish()),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      const named = request.body?.payment_method ?? null
      return deps.answers.resumable(request, {
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

function cancelRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'cancelPurchase', summary: 'Cancel an unpaid purchase' }
  app.post(
    `${PURCHASE}/cancel`,
    action({ anyOf: ['purchases:write'], sponsor: true }, docs, emptyBody),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      return deps.answers.resumable(request, {
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

function approveRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'approvePurchase', summary: 'Give a free purchase its codes' }
  app.post(
    `${PURCHASE}/approve`,
    action({ anyOf: ['purchases:write'] }, docs, emptyBody),
    async (request) => {
      const { caller, purchase } = subject(request)
      return deps.answers.once(request, async (trx) => {
        await approveComp(trx, caller, purchase)
        return viewPurchase(trx, caller, purchase)
      })
    },
  )
}

function reconcileRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'reconcilePurchase', summary: 'Read the purchase anew from Stripe' }
  app.post(
    `${PURCHASE}/reconcile`,
    action({ anyOf: ['purchases:write'] }, docs, reconcileBody.nullish()),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      const paymentIntent = request.body?.payment_intent ?? null
      return deps.answers.resumable(request, {
        begin: async (trx) => {
          if ((await findPurchase(trx, ref)) === null) throw notFound('purchase')
          return purchase
        },
        finish: () => reconcileAndComplete(deps, caller, purchase, paymentIntent),
      })
    },
  )
}

function resolveFlagRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'resolvePurchaseFlag', summary: 'Close a flag for good' }
  app.post(
    `${PURCHASE}/resolve-flag`,
    action({ anyOf: ['purchases:write'] }, docs, resolveFlagBody),
    async (request) => {
      const { caller, purchase } = subject(request)
      const { code, note, action: step } = request.body
      return deps.answers.once(request, async (trx) => {
        await resolveFlag(trx, caller, purchase, { code, note, action: step ?? null })
        return viewPurchase(trx, caller, purchase)
      })
    },
  )
}

function refundRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'refundPurchase',
    summary: 'Send money back',
    description: 'The codes follow what Stripe confirms: frozen while pending, then off.',
  }
  app.post(
    `${PURCHASE}/refund`,
    action({ anyOf: ['refunds:write'] }, docs, refundBody.nullish()),
    async (request) => {
      const { caller, purchase, ref } = subject(request)
      return deps.answers.resumable(request, {
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

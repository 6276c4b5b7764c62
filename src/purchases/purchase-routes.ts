import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, emptyBody, pageQuery } from '../http/common-schemas.ts'
import { idempotencyRunner } from '../http/idempotency.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { checkoutAnswer, checkoutBody } from '../payments/checkout-schemas.ts'
import type { BulkPurchaseService } from './bulk-purchase-service.ts'
import {
  approveBody,
  createPurchaseBody,
  listPurchasesQuery,
  payBody,
  purchasePage,
  purchaseParams,
  purchaseSchema,
  reconcileBody,
  refundBody,
  resolveFlagBody,
  toNewPurchaseInput,
  transitionPage,
  updatePurchaseBody,
} from './purchase-schemas.ts'

const PURCHASES = '/v1/conferences/:conference/purchases'
const PURCHASE = `${PURCHASES}/:purchase`
const tags = ['Purchases']
const READ: AccessRule = { anyOf: ['purchases:read'], sponsor: true }
const WRITE: AccessRule = { anyOf: ['purchases:write'], sponsor: true }
const STAFF: AccessRule = { anyOf: ['purchases:write'] }

type Deps = Pick<RouteDeps, 'idempotency'> & { purchases: BulkPurchaseService }

/** `C/purchases`: each handler is one call of BulkPurchaseService. */
export function purchaseRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  readRoutes(app, deps)
  updateRoute(app, deps)
  checkoutRoute(app, deps)
  payRoute(app, deps)
  cancelRoute(app, deps)
  approveRoute(app, deps)
  reconcileRoute(app, deps)
  resolveFlagRoute(app, deps)
  refundRoute(app, deps)
  transitionsRoute(app, deps)
}

function createRoute(app: App, { idempotency, purchases }: Deps): void {
  app.post(
    PURCHASES,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'createPurchase',
        summary: 'Order vouchers in bulk',
        description:
          "Copies the item's price and voucher terms into the purchase. Only staff may set another price or other terms, or buy for a sponsor.",
        tags,
        params: conferenceParams,
        body: createPurchaseBody,
        response: { 201: purchaseSchema },
      },
    },
    async (request, reply) => {
      const input = toNewPurchaseInput(request.body)
      const runner = idempotencyRunner(idempotency, request)
      const created = await purchases.createBulkPurchase(callerOf(request), input, runner)
      return reply.code(201).send(created)
    },
  )
}

function readRoutes(app: App, { purchases }: Deps): void {
  app.get(
    PURCHASES,
    {
      config: { access: READ },
      schema: {
        operationId: 'listPurchases',
        summary: 'List purchases',
        tags,
        params: conferenceParams,
        querystring: listPurchasesQuery,
        response: { 200: purchasePage },
      },
    },
    (request) => purchases.listBulkPurchases(callerOf(request), request.query),
  )

  app.get(
    PURCHASE,
    {
      config: { access: READ },
      schema: {
        operationId: 'getPurchase',
        summary: 'Get a purchase',
        tags,
        params: purchaseParams,
        response: { 200: purchaseSchema },
      },
    },
    (request) =>
      purchases.getBulkPurchase(callerOf(request), request.params.purchase, { refresh: true }),
  )
}

function updateRoute(app: App, { idempotency, purchases }: Deps): void {
  app.patch(
    PURCHASE,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'updatePurchase',
        summary: 'Update a purchase before its checkout',
        tags,
        params: purchaseParams,
        body: updatePurchaseBody,
        response: { 200: purchaseSchema },
      },
    },
    (request) => {
      const { caller, purchase } = subject(request)
      const runner = idempotencyRunner(idempotency, request)
      return purchases.updateBulkPurchase(caller, purchase, request.body, runner)
    },
  )
}

type Docs = { operationId: string; summary: string; description?: string }

/** A route that acts on the purchase in its path and answers with that purchase. */
function action<Body extends z.ZodType>(access: AccessRule, docs: Docs, body: Body) {
  return {
    config: { access },
    schema: { ...docs, tags, params: purchaseParams, body, response: { 200: purchaseSchema } },
  }
}

/** Who acts on which purchase. */
function subject(request: FastifyRequest) {
  // Validated by `purchaseParams`, which every route that calls this has.
  const { purchase } = request.params as z.infer<typeof purchaseParams>
  return { caller: callerOf(request), purchase }
}

function checkoutRoute(app: App, { idempotency, purchases }: Deps): void {
  app.post(
    `${PURCHASE}/checkout`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'checkoutPurchase',
        summary: 'Open the payment page',
        description:
          'A repeat with the same URLs returns the same session; other URLs close it and open a new one. Also possible after FAILED.',
        tags,
        params: purchaseParams,
        body: checkoutBody,
        response: { 200: checkoutAnswer },
      },
    },
    (request) => {
      const { caller, purchase } = subject(request)
      const urls = { successUrl: request.body.success_url, cancelUrl: request.body.cancel_url }
      const runner = idempotencyRunner(idempotency, request)
      return purchases.createCheckoutSession(caller, purchase, urls, runner)
    },
  )
}

function payRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = {
    operationId: 'payPurchase',
    summary: 'Pay with a saved card',
    description:
      "Charges the sponsor's default card, or the card that you name. An open payment page is closed first. If the bank declines the card, the purchase is FAILED and the request succeeds with it. If the bank requires the cardholder to authenticate, nothing is charged and the request fails with `authentication_required`: use checkout.",
  }
  app.post(`${PURCHASE}/pay`, action(WRITE, docs, payBody.nullish()), (request) => {
    const { caller, purchase } = subject(request)
    const paymentMethod = request.body?.payment_method ?? null
    const runner = idempotencyRunner(idempotency, request)
    return purchases.payWithSavedCard(caller, purchase, paymentMethod, runner)
  })
}

function cancelRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = { operationId: 'cancelPurchase', summary: 'Cancel an unpaid purchase' }
  app.post(`${PURCHASE}/cancel`, action(WRITE, docs, emptyBody), (request) => {
    const { caller, purchase } = subject(request)
    return purchases.cancelBulkPurchase(caller, purchase, idempotencyRunner(idempotency, request))
  })
}

function approveRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = {
    operationId: 'approvePurchase',
    summary: 'Approve a free purchase and issue its vouchers',
    description: 'With `quantity`, the request fails if the purchase has another quantity.',
  }
  app.post(`${PURCHASE}/approve`, action(STAFF, docs, approveBody.nullish()), (request) => {
    const { caller, purchase } = subject(request)
    const quantity = request.body?.quantity ?? null
    const runner = idempotencyRunner(idempotency, request)
    return purchases.approveComp(caller, purchase, quantity, runner)
  })
}

function reconcileRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = { operationId: 'reconcilePurchase', summary: 'Refresh the purchase from Stripe' }
  app.post(`${PURCHASE}/reconcile`, action(STAFF, docs, reconcileBody.nullish()), (request) => {
    const { caller, purchase } = subject(request)
    const paymentIntent = request.body?.payment_intent ?? null
    const runner = idempotencyRunner(idempotency, request)
    return purchases.reconcileBulkPurchase(caller, purchase, paymentIntent, runner)
  })
}

function resolveFlagRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = {
    operationId: 'resolvePurchaseFlag',
    summary: 'Resolve a flag',
    description:
      'The same cause does not raise the flag again. `accept_payment` resolves the flag of the accepted payment; the flag of another payment stays open until it is refunded and resolved.',
  }
  app.post(`${PURCHASE}/resolve-flag`, action(STAFF, docs, resolveFlagBody), (request) => {
    const { caller, purchase } = subject(request)
    const {
      code,
      note,
      action: decision = null,
      payment_intent: paymentIntent = null,
    } = request.body
    const resolution = { code, note, action: decision, paymentIntent }
    const runner = idempotencyRunner(idempotency, request)
    return purchases.resolveFlag(caller, purchase, resolution, runner)
  })
}

function refundRoute(app: App, { idempotency, purchases }: Deps): void {
  const access: AccessRule = { anyOf: ['refunds:write'] }
  const docs = {
    operationId: 'refundPurchase',
    summary: 'Refund a payment',
    description:
      'Vouchers change when Stripe reports the refund: they are frozen while it is pending and deactivated when it succeeds.',
  }
  app.post(`${PURCHASE}/refund`, action(access, docs, refundBody.nullish()), (request) => {
    const { caller, purchase } = subject(request)
    const input = {
      paymentIntent: request.body?.payment_intent ?? null,
      amount: request.body?.amount ?? null,
      reason: request.body?.reason ?? null,
    }
    const runner = idempotencyRunner(idempotency, request)
    return purchases.refundBulkPurchase(caller, purchase, input, runner)
  })
}

function transitionsRoute(app: App, { purchases }: Deps): void {
  app.get(
    `${PURCHASE}/transitions`,
    {
      config: { access: READ },
      schema: {
        operationId: 'listPurchaseTransitions',
        summary: 'List the status transitions of a purchase',
        tags,
        params: purchaseParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: transitionPage },
      },
    },
    (request) =>
      purchases.listTransitions(callerOf(request), request.params.purchase, request.query),
  )
}

import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Page, PageQuery } from '../db/pages.ts'
import type { Read } from '../db/read-replica.ts'
import { acceptedFormat } from '../http/accepted-format.ts'
import { type AccessRule, callerOf, principalOf } from '../http/access-control.ts'
import { conferenceParams, emptyBody } from '../http/common-schemas.ts'
import { idempotencyRunner } from '../http/idempotency.ts'
import type { Reads } from '../http/replica-reads.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { checkoutAnswer, checkoutBody } from '../payments/checkout-schemas.ts'
import { invalidField } from '../shared/errors.ts'
import { concerns } from '../shared/work-context.ts'
import type { BulkPurchaseService, PurchaseBody } from './bulk-purchase-service.ts'
import { PURCHASE_CSV_HEADER } from './export-purchases.ts'
import { historyRoutes } from './purchase-history-routes.ts'
import {
  approveBody,
  createPurchaseBody,
  listAllPurchasesQuery,
  listPurchasesQuery,
  markPaidBody,
  payBody,
  purchasePage,
  purchaseParams,
  purchaseSchema,
  reconcileBody,
  resolveFlagBody,
  revokeBody,
  toNewPurchaseInput,
  toOutsidePayment,
  updatePurchaseBody,
} from './purchase-schemas.ts'
import { refundAnswer, refundBody, refundQuery, toRefundInput } from './refund-schemas.ts'

const PURCHASES = '/v1/conferences/:conference/purchases'
const PURCHASE = `${PURCHASES}/:purchase`
const tags = ['Purchases']
const READ: AccessRule = { anyOf: ['purchases:read'], sponsor: true }
const WRITE: AccessRule = { anyOf: ['purchases:write'], sponsor: true }
const STAFF: AccessRule = { anyOf: ['purchases:write'] }

type Deps = Pick<RouteDeps, 'idempotency' | 'reads'> & {
  purchases: BulkPurchaseService
  /** The id of the conference with this slug or id, or null. */
  findConference: (slugOrId: string) => Promise<string | null>
}

/** `C/purchases` and `/v1/purchases`: each handler is one call of BulkPurchaseService. */
export function purchaseRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  readRoutes(app, deps)
  updateRoute(app, deps)
  checkoutRoute(app, deps)
  payRoute(app, deps)
  cancelRoute(app, deps)
  approveRoute(app, deps)
  revokeRoute(app, deps)
  markPaidRoute(app, deps)
  reconcileRoute(app, deps)
  resolveFlagRoute(app, deps)
  refundRoute(app, deps)
  historyRoutes(app, deps)
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
      concerns({ purchase: created.id })
      return reply.code(201).send(created)
    },
  )
}

const LIST_DESCRIPTION =
  'A sponsor sees only its own. JSON is paged. With `Accept: text/csv`, the response is one stream of all purchases that match, each as it is when its part of the stream is read; amounts are in minor units.'

const listResponse = {
  200: {
    description: 'The purchases.',
    content: {
      'application/json': { schema: purchasePage },
      'text/csv': { schema: z.string().meta({ description: PURCHASE_CSV_HEADER }) },
    },
  },
}

/** Sends a page as JSON or the whole list as CSV. @throws AppError `validation_failed` for a cursor with CSV. */
async function sendList(
  request: FastifyRequest,
  reply: FastifyReply,
  { cursor }: PageQuery,
  reads: Reads,
  list: { page(read: Read): Promise<Page<PurchaseBody>>; csv(read: Read): Readable },
) {
  // Caches must not mix the formats.
  void reply.header('vary', 'accept').header('cache-control', 'no-store')
  if (acceptedFormat(request.headers.accept) !== 'csv') return list.page(await reads.of(request))
  if (cursor !== undefined) throw invalidField('query/cursor', 'is allowed only with JSON')
  const lines = list.csv(await reads.of(request, 'export'))
  void reply
    .type('text/csv; charset=utf-8; header=present')
    .header('content-disposition', 'attachment; filename="purchases.csv"')
  return reply.send(lines)
}

/** Whether the key may read voucher codes: otherwise, a search would tell which codes exist. */
function readsCodes(request: FastifyRequest): boolean {
  const principal = principalOf(request)
  return principal.role !== 'staff' || principal.scopes.includes('vouchers:read')
}

function readRoutes(app: App, { purchases, findConference, reads }: Deps): void {
  app.get(
    PURCHASES,
    {
      config: { access: READ },
      schema: {
        operationId: 'listPurchases',
        summary: 'List or export purchases',
        description: LIST_DESCRIPTION,
        tags,
        params: conferenceParams,
        querystring: listPurchasesQuery,
        response: listResponse,
      },
    },
    (request, reply) => {
      const caller = callerOf(request)
      const filter = { ...request.query, readsCodes: readsCodes(request) }
      return sendList(request, reply, filter, reads, {
        page: (read) => purchases.listBulkPurchases(caller, filter, read),
        csv: (read) => purchases.exportBulkPurchases(caller, filter, read),
      })
    },
  )

  app.get(
    '/v1/purchases',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'listAllPurchases',
        summary: 'List or export the purchases of all conferences',
        description: LIST_DESCRIPTION,
        tags,
        querystring: listAllPurchasesQuery,
        response: listResponse,
      },
    },
    async (request, reply) => {
      const { conference, ...query } = request.query
      const conferenceId = conference === undefined ? null : await findConference(conference)
      if (conferenceId === null && conference !== undefined) {
        throw invalidField('query/conference', `There is no conference "${conference}".`)
      }
      const principal = principalOf(request)
      const actor = { kind: principal.role, id: principal.id }
      const reader = { conferenceId, actor, sponsorId: null }
      const filter = { ...query, readsCodes: true }
      return sendList(request, reply, filter, reads, {
        page: (read) => purchases.listBulkPurchases(reader, filter, read),
        csv: (read) => purchases.exportBulkPurchases(reader, filter, read),
      })
    },
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
    const runner = idempotencyRunner(idempotency, request)
    return purchases.approveComp(caller, purchase, request.body?.quantity ?? null, runner)
  })
}

function revokeRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = {
    operationId: 'revokePurchase',
    summary: 'Withdraw a free purchase that was approved',
    description:
      'The purchase becomes REFUNDED and all its vouchers inactive. Uses of redeemed vouchers stay counted, and raise the flag `too_few_unredeemed`.',
  }
  app.post(`${PURCHASE}/revoke`, action(STAFF, docs, revokeBody.nullish()), (request) => {
    const { caller, purchase } = subject(request)
    const note = request.body?.note ?? null
    return purchases.revokeComp(caller, purchase, note, idempotencyRunner(idempotency, request))
  })
}

function markPaidRoute(app: App, { idempotency, purchases }: Deps): void {
  const docs = {
    operationId: 'markPurchasePaid',
    summary: 'Record a payment that came outside Stripe',
    description:
      'The purchase becomes PAID and its vouchers are issued. An open payment page is closed at Stripe first; if the payer was faster, the request fails with `payment_in_progress`. A refund of this payment is booked here and sent nowhere. The same reference may pay several purchases: one bank transfer often does.',
  }
  app.post(`${PURCHASE}/mark-paid`, action(STAFF, docs, markPaidBody), (request) => {
    const { caller, purchase } = subject(request)
    const payment = toOutsidePayment(request.body)
    return purchases.markPaid(caller, purchase, payment, idempotencyRunner(idempotency, request))
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
  app.post(
    `${PURCHASE}/refund`,
    {
      config: { access: { anyOf: ['refunds:write'] } },
      schema: {
        operationId: 'refundPurchase',
        summary: 'Refund a payment, or preview it',
        description:
          'Set at most one of `amount`, `quantity` and `codes`. The vouchers of `codes` are frozen at once. Others change when Stripe reports the refund: they are frozen while it is pending. When it succeeds, vouchers are deactivated. A refund of a recorded payment is booked here and sent nowhere. With `dry_run=true`, the answer says what would happen, and nothing happens.',
        tags,
        params: purchaseParams,
        querystring: refundQuery,
        body: refundBody.nullish(),
        response: { 200: refundAnswer },
      },
    },
    (request) => {
      const { caller, purchase } = subject(request)
      const input = toRefundInput(request.body ?? null)
      if (request.query.dry_run) return purchases.previewRefund(caller, purchase, input)
      const runner = idempotencyRunner(idempotency, request)
      return purchases.refundBulkPurchase(caller, purchase, input, runner)
    },
  )
}

import { z } from 'zod'
import { callerOf } from '../http/access-control.ts'
import { pageQuery } from '../http/common-schemas.ts'
import { idempotencyRunner } from '../http/idempotency.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { BulkPurchaseService } from './bulk-purchase-service.ts'
import {
  noteBody,
  purchasePaymentsSchema,
  transitionPage,
  transitionSchema,
} from './purchase-history-schemas.ts'
import { purchaseParams } from './purchase-schemas.ts'

const PURCHASE = '/v1/conferences/:conference/purchases/:purchase'
const tags = ['Purchases']

type Deps = Pick<RouteDeps, 'idempotency'> & { purchases: BulkPurchaseService }

/** What happened to a purchase: its transitions, the notes of staff, its payments. */
export function historyRoutes(app: App, { idempotency, purchases }: Deps): void {
  app.get(
    `${PURCHASE}/transitions`,
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'listPurchaseTransitions',
        summary: 'List the status transitions of a purchase',
        description:
          'Newest first. A note of staff (`NOTE_ADDED`) is among them, with the same status before and after. Sponsors do not see notes.',
        tags,
        params: purchaseParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: transitionPage },
      },
    },
    (request) =>
      purchases.listTransitions(callerOf(request), request.params.purchase, request.query),
  )

  app.post(
    `${PURCHASE}/notes`,
    {
      config: { access: { anyOf: ['purchases:write'] } },
      schema: {
        operationId: 'createPurchaseNote',
        summary: 'Add a note to the history of a purchase',
        description: 'It cannot be changed or deleted. Sponsors do not see it.',
        tags,
        params: purchaseParams,
        body: noteBody,
        response: { 201: transitionSchema },
      },
    },
    async (request, reply) => {
      const { purchase } = request.params
      const runner = idempotencyRunner(idempotency, request)
      const { note } = request.body
      return reply
        .code(201)
        .send(await purchases.addNote(callerOf(request), purchase, note, runner))
    },
  )

  app.get(
    `${PURCHASE}/payments`,
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'getPurchasePayments',
        summary: 'Get the payments of a purchase',
        description:
          'Its attempts, payments, refunds and disputes, as the last snapshot from Stripe showed them, and what was recorded here.',
        tags,
        params: purchaseParams,
        response: { 200: purchasePaymentsSchema },
      },
    },
    (request) => purchases.getPayments(callerOf(request), request.params.purchase),
  )
}

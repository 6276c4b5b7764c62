import { z } from 'zod'
import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-rule.ts'
import { callerOf } from '../http/caller.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import { mapPage, pageQuery } from '../http/pages.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { Clock } from '../shared/clock.ts'
import { createStaffBatch } from './create-staff-batch.ts'
import { getBatch, listBatches } from './voucher-batch-store.ts'
import {
  batchPage,
  batchParams,
  batchSchema,
  createBatchBody,
  toBatchBody,
} from './voucher-schemas.ts'

const PATH = '/v1/conferences/:conference/voucher-batches'
const READ: AccessRule = { anyOf: ['vouchers:read', 'vouchers:write'], sponsor: true }
const tags = ['Vouchers']

/** `C/voucher-batches`: codes that staff give out, and the batches of purchases and levels. */
export function voucherBatchRoutes(app: App, deps: RouteDeps & { clock: Clock }): void {
  createRoute(app, deps)
  readRoutes(app, deps)
}

function createRoute(app: App, { answers, clock }: RouteDeps & { clock: Clock }): void {
  app.post(
    PATH,
    {
      config: { access: { anyOf: ['vouchers:write'] } },
      schema: {
        operationId: 'createVoucherBatch',
        summary: 'Make codes without a purchase',
        tags,
        params: conferenceParams,
        body: createBatchBody,
        response: { 201: batchSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId, actor } = callerOf(request)
      const by = { keyId: actor.id, now: clock.now() }
      const body = await answers.once(request, async (trx) =>
        toBatchBody(await createStaffBatch(trx, conferenceId, request.body, by)),
      )
      return reply.code(201).send(body)
    },
  )
}

function readRoutes(app: App, { db }: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access: READ },
      schema: {
        operationId: 'listVoucherBatches',
        summary: 'List batches of codes',
        description: 'A sponsor sees its own.',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: batchPage },
      },
    },
    async (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      const page = await withTenant(db, { conferenceId }, (trx) =>
        listBatches(trx, conferenceId, sponsorId, request.query),
      )
      return mapPage(page, toBatchBody)
    },
  )

  app.get(
    `${PATH}/:batch`,
    {
      config: { access: READ },
      schema: {
        operationId: 'getVoucherBatch',
        summary: 'Get a batch of codes',
        tags,
        params: batchParams,
        response: { 200: batchSchema },
      },
    },
    (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toBatchBody(await getBatch(trx, conferenceId, request.params.batch, sponsorId)),
      )
    },
  )
}

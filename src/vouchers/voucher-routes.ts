import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, emptyBody } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { Clock } from '../shared/time.ts'
import { activateVoucher, deactivateVoucher } from './change-voucher-state.ts'
import { createStaffBatch } from './issue-without-purchase.ts'
import { toVoucherBody } from './voucher.ts'
import { getBatch, listBatches } from './voucher-batch-store.ts'
import {
  batchPage,
  batchParams,
  batchQuery,
  batchSchema,
  codeParams,
  createBatchBody,
  toBatchBody,
  toVoucherFilter,
  voucherPage,
  voucherQuery,
  voucherSchema,
} from './voucher-schemas.ts'
import { getVoucher, listVouchers } from './voucher-store.ts'

const PATH = '/v1/conferences/:conference/vouchers'
const WRITE: AccessRule = { anyOf: ['vouchers:write'] }
const tags = ['Vouchers']

/** `C/vouchers`. */
export function voucherRoutes(app: App, deps: RouteDeps): void {
  readRoutes(app, deps)
  stateRoutes(app, deps)
}

function readRoutes(app: App, { db, reads, failedLookups }: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access: { anyOf: ['vouchers:read'], sponsor: true } },
      schema: {
        operationId: 'listVouchers',
        summary: 'List vouchers',
        description: 'A sponsor sees only its own.',
        tags,
        params: conferenceParams,
        querystring: voucherQuery,
        response: { 200: voucherPage },
      },
    },
    async (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      const { filter, page } = toVoucherFilter(request.query)
      const read = await reads.of(request)
      const found = await read((db) =>
        withTenant(db, { conferenceId }, (trx) =>
          listVouchers(trx, conferenceId, { ...filter, sponsorId }, page),
        ),
      )
      return mapPage(found, toVoucherBody)
    },
  )

  app.get(
    `${PATH}/:code`,
    {
      config: { access: { anyOf: ['vouchers:redeem'], sponsor: true } },
      schema: {
        operationId: 'getVoucher',
        summary: 'Look up a voucher by its code',
        description:
          'Shows whether the voucher can be redeemed now and, if not, why. A sponsor finds only its own.',
        tags,
        params: codeParams,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      return failedLookups.guard(request, () =>
        withTenant(db, { conferenceId }, async (trx) =>
          toVoucherBody(await getVoucher(trx, conferenceId, request.params.code, sponsorId)),
        ),
      )
    },
  )
}

function stateRoutes(app: App, { idempotency, failedLookups }: RouteDeps): void {
  app.post(
    `${PATH}/:code/deactivate`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'deactivateVoucher',
        summary: 'Deactivate a voucher',
        description:
          'Idempotent. The voucher counts towards the inactive ones that refunds require, so a voucher that a refund deactivated may become active instead.',
        tags,
        params: codeParams,
        body: emptyBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return failedLookups.guard(request, () =>
        idempotency.run(request, async (trx) =>
          toVoucherBody(await deactivateVoucher(trx, conferenceId, request.params.code)),
        ),
      )
    },
  )

  app.post(
    `${PATH}/:code/activate`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'activateVoucher',
        summary: 'Activate a voucher again',
        description:
          'Fails with `voucher_refunded` if refunds require the voucher to stay inactive.',
        tags,
        params: codeParams,
        body: emptyBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return failedLookups.guard(request, () =>
        idempotency.run(request, async (trx) =>
          toVoucherBody(await activateVoucher(trx, conferenceId, request.params.code)),
        ),
      )
    },
  )
}

const BATCH_PATH = '/v1/conferences/:conference/voucher-batches'
const READ_BATCHES: AccessRule = { anyOf: ['vouchers:read', 'vouchers:write'], sponsor: true }
/** `C/voucher-batches`: the batches of staff, of purchases and of sponsor levels. */
export function voucherBatchRoutes(app: App, deps: RouteDeps & { clock: Clock }): void {
  createBatchRoute(app, deps)
  batchReadRoutes(app, deps)
}

function createBatchRoute(app: App, { idempotency, clock }: RouteDeps & { clock: Clock }): void {
  app.post(
    BATCH_PATH,
    {
      config: { access: { anyOf: ['vouchers:write'] } },
      schema: {
        operationId: 'createVoucherBatch',
        summary: 'Issue vouchers without a purchase',
        tags: tags,
        params: conferenceParams,
        body: createBatchBody,
        response: { 201: batchSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId, actor } = callerOf(request)
      const by = { keyId: actor.id, now: clock.now() }
      const body = await idempotency.run(request, async (trx) =>
        toBatchBody(await createStaffBatch(trx, conferenceId, request.body, by)),
      )
      return reply.code(201).send(body)
    },
  )
}

function batchReadRoutes(app: App, { db, reads }: RouteDeps): void {
  app.get(
    BATCH_PATH,
    {
      config: { access: READ_BATCHES },
      schema: {
        operationId: 'listVoucherBatches',
        summary: 'List voucher batches',
        description: 'A sponsor sees only its own.',
        tags: tags,
        params: conferenceParams,
        querystring: batchQuery,
        response: { 200: batchPage },
      },
    },
    async (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      const read = await reads.of(request)
      const page = await read((db) =>
        withTenant(db, { conferenceId }, (trx) =>
          listBatches(
            trx,
            conferenceId,
            { sponsorId, source: request.query.source },
            request.query,
          ),
        ),
      )
      return mapPage(page, toBatchBody)
    },
  )

  app.get(
    `${BATCH_PATH}/:batch`,
    {
      config: { access: READ_BATCHES },
      schema: {
        operationId: 'getVoucherBatch',
        summary: 'Get a voucher batch',
        tags: tags,
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

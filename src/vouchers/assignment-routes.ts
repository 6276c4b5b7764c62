import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { emptyBody } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { assignInBulk } from './assign-in-bulk.ts'
import { assignVoucher, sendAssignment, unassignVoucher } from './assign-vouchers.ts'
import { assignmentText, parseAssignmentFile } from './assignment-file.ts'
import {
  assignBody,
  assignFileQuery,
  assignFileSchema,
  toAssignFileBody,
} from './assignment-schemas.ts'
import { toVoucherBody } from './voucher.ts'
import { getBatch } from './voucher-batch-store.ts'
import type { FindBatch, FindPurchaseBatch } from './voucher-export-routes.ts'
import {
  batchParams,
  codeParams,
  voucherSchema,
  vouchersOfPurchaseParams,
} from './voucher-schemas.ts'

const CONFERENCE = '/v1/conferences/:conference'
const PATH = `${CONFERENCE}/vouchers/:code/assignment`
const access: AccessRule = { anyOf: ['vouchers:write'], sponsor: true }
const tags = ['Vouchers']

/** `C/vouchers/{code}/assignment`: the person who is to use a voucher. A sponsor assigns its own. */
export function assignmentRoutes(app: App, deps: RouteDeps): void {
  assignRoute(app, deps)
  unassignRoute(app, deps)
  sendRoute(app, deps)
}

function assignRoute(app: App, { db, failedLookups }: RouteDeps): void {
  app.put(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'assignVoucher',
        summary: 'Assign a voucher to a person',
        description:
          'The person gets the code by e-mail. The same person again is a no-op. A person who is replaced gets no e-mail, but still knows the code. Fails with `wrong_state` if the voucher was redeemed, or is deactivated, frozen or expired.',
        tags,
        params: codeParams,
        body: assignBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const caller = callerOf(request)
      const { email, name = null, replaces, send } = request.body
      return failedLookups.guard(request, () =>
        withTenant(db, caller, async (trx) =>
          toVoucherBody(
            await assignVoucher(
              trx,
              caller,
              request.params.code,
              { email, name },
              { replaces, send },
            ),
          ),
        ),
      )
    },
  )
}

function unassignRoute(app: App, { db, failedLookups }: RouteDeps): void {
  app.delete(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'unassignVoucher',
        summary: 'Remove the assignment of a voucher',
        description:
          'The person gets no e-mail, but still knows the code. Without an assignment it is a no-op. The assignment of a redeemed voucher is final.',
        tags,
        params: codeParams,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const caller = callerOf(request)
      return failedLookups.guard(request, () =>
        withTenant(db, caller, async (trx) =>
          toVoucherBody(await unassignVoucher(trx, caller, request.params.code)),
        ),
      )
    },
  )
}

function sendRoute(app: App, { idempotency, failedLookups }: RouteDeps): void {
  app.post(
    `${PATH}/send`,
    {
      config: { access },
      schema: {
        operationId: 'sendVoucherAssignment',
        summary: 'Send the code to its person again',
        description: '`sent_at` of the assignment changes when the mail server took the e-mail.',
        tags,
        params: codeParams,
        body: emptyBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const caller = callerOf(request)
      return failedLookups.guard(request, () =>
        idempotency.run(request, async (trx) =>
          toVoucherBody(await sendAssignment(trx, caller, request.params.code)),
        ),
      )
    },
  )
}

/** Bytes: 5,000 lines of 200. */
const FILE_LIMIT = 1024 * 1024

export type AssignmentFileDeps = RouteDeps & { findPurchaseBatch: FindPurchaseBatch }

const UPLOAD_DESCRIPTION =
  'All lines are assigned, or none. A line with a `code` gets that voucher. A line without one gets a voucher that its person already has, else the next free one. So the same file again changes nothing and sends nothing. Two lines with the same address are two vouchers. Errors have pointers such as `line/3/email`.'

/** `C/purchases/{id}/assignments` and `C/voucher-batches/{id}/assignments`: a CSV file of persons. */
export function assignmentFileRoutes(app: App, deps: AssignmentFileDeps): void {
  const { findPurchaseBatch } = deps
  void app.register(async (scope: App) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(
      'text/csv',
      { parseAs: 'buffer', bodyLimit: FILE_LIMIT },
      async (_request: FastifyRequest, body: Buffer) => assignmentText(body),
    )

    scope.post(
      `${CONFERENCE}/purchases/:purchase/assignments`,
      {
        config: { access },
        bodyLimit: FILE_LIMIT,
        schema: {
          operationId: 'assignPurchaseVouchers',
          summary: 'Assign the vouchers of a purchase to the persons of a file',
          description: UPLOAD_DESCRIPTION,
          tags,
          params: vouchersOfPurchaseParams,
          querystring: assignFileQuery,
          response: { 200: assignFileSchema },
        },
      },
      (request) => {
        const { purchase } = request.params
        return assignFile(deps, request, request.query, (trx, caller) =>
          findPurchaseBatch(trx, caller, purchase),
        )
      },
    )

    scope.post(
      `${CONFERENCE}/voucher-batches/:batch/assignments`,
      {
        config: { access },
        bodyLimit: FILE_LIMIT,
        schema: {
          operationId: 'assignBatchVouchers',
          summary: 'Assign the vouchers of a batch to the persons of a file',
          description: UPLOAD_DESCRIPTION,
          tags,
          params: batchParams,
          querystring: assignFileQuery,
          response: { 200: assignFileSchema },
        },
      },
      (request) => {
        const { batch } = request.params
        return assignFile(
          deps,
          request,
          request.query,
          async (trx, { conferenceId, sponsorId }) =>
            (await getBatch(trx, conferenceId, batch, sponsorId)).id,
        )
      },
    )
  })
}

async function assignFile(
  { db, idempotency }: AssignmentFileDeps,
  request: FastifyRequest,
  { dry_run: dryRun, replace, send }: z.output<typeof assignFileQuery>,
  findBatch: FindBatch,
) {
  const caller = callerOf(request)
  const file = parseAssignmentFile(typeof request.body === 'string' ? request.body : '')
  const assign = async (trx: Tx) => {
    const batchId = await findBatch(trx, caller)
    const done = await assignInBulk(trx, caller, batchId, file, { dryRun, replace, send })
    return toAssignFileBody(done, dryRun)
  }
  return dryRun ? withTenant(db, caller, assign) : idempotency.run(request, assign)
}

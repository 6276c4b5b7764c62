import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { acceptedFormat } from '../http/accepted-format.ts'
import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { Caller } from '../shared/caller.ts'
import { invalidField } from '../shared/errors.ts'
import { type ExportFormat, exportVouchers } from './export-vouchers.ts'
import { toVoucherBody } from './voucher.ts'
import { getBatch } from './voucher-batch-store.ts'
import { batchParams, voucherPage, vouchersOfPurchaseParams } from './voucher-schemas.ts'
import { listBatchVouchers } from './voucher-store.ts'

const CONFERENCE = '/v1/conferences/:conference'
const access: AccessRule = { anyOf: ['vouchers:read'], sponsor: true }
const tags = ['Vouchers']
const description =
  'The vouchers are in the order of issue. JSON is paged. With `Accept: text/csv` or `application/x-ndjson`, the response is one stream of all vouchers, each as it is when its part of the stream is read.'

const MEDIA_TYPES: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
}

const querystring = z.strictObject({
  ...pageQuery,
  include: z.enum(['assignment']).optional().meta({
    description:
      'Adds the columns `email,name,assigned_at,sent_at` to the CSV. JSON always has the assignments.',
  }),
})

const text = (explanation: string) => z.string().meta({ description: explanation })

const response = {
  200: {
    description: 'The vouchers.',
    content: {
      'application/json': { schema: voucherPage },
      'text/csv': { schema: text('code,times_used,max_uses,is_active,valid_from,valid_until') },
      'application/x-ndjson': { schema: text('One Voucher object per line.') },
    },
  },
}

export type VoucherExportDeps = RouteDeps & {
  findPurchaseBatch: FindPurchaseBatch
}

/** `C/purchases/{id}/vouchers` and `C/voucher-batches/{id}/vouchers`. */
export function voucherExportRoutes(app: App, deps: VoucherExportDeps): void {
  const { findPurchaseBatch } = deps
  app.get(
    `${CONFERENCE}/purchases/:purchase/vouchers`,
    {
      config: { access },
      schema: {
        operationId: 'listPurchaseVouchers',
        summary: 'List or export the vouchers of a purchase',
        description,
        tags,
        params: vouchersOfPurchaseParams,
        querystring,
        response,
      },
    },
    (request, reply) => {
      const { purchase } = request.params
      return sendVouchers(deps, request, reply, request.query, purchase, (trx, caller) =>
        findPurchaseBatch(trx, caller, purchase),
      )
    },
  )

  app.get(
    `${CONFERENCE}/voucher-batches/:batch/vouchers`,
    {
      config: { access },
      schema: {
        operationId: 'listBatchVouchers',
        summary: 'List or export the vouchers of a batch',
        description,
        tags,
        params: batchParams,
        querystring,
        response,
      },
    },
    (request, reply) => {
      const { batch } = request.params
      return sendVouchers(
        deps,
        request,
        reply,
        request.query,
        batch,
        async (trx, { conferenceId, sponsorId }) =>
          (await getBatch(trx, conferenceId, batch, sponsorId)).id,
      )
    },
  )
}

/**
 * The batch of a purchase that the caller may see; null if nothing was issued. Implemented in purchases/.
 *
 * @throws AppError `not_found`
 */
export type FindPurchaseBatch = (
  trx: Tx,
  caller: Caller,
  purchaseId: string,
) => Promise<string | null>

/** Finds a batch that the caller may see. @throws AppError `not_found` */
export type FindBatch = (trx: Tx, caller: Caller) => Promise<string | null>

async function sendVouchers(
  { reads }: Pick<VoucherExportDeps, 'reads'>,
  request: FastifyRequest,
  reply: FastifyReply,
  { include, ...page }: z.output<typeof querystring>,
  name: string,
  findBatch: FindBatch,
) {
  const caller = callerOf(request)
  const { conferenceId } = caller
  const format = acceptedFormat(request.headers.accept)
  // Caches must not mix the formats.
  void reply.header('vary', 'accept').header('cache-control', 'no-store')
  if (format === 'json') {
    const read = await reads.of(request)
    const found = await read((db) =>
      withTenant(db, { conferenceId }, async (trx) => {
        const batchId = await findBatch(trx, caller)
        if (batchId === null) return { data: [], has_more: false, next_cursor: null }
        return listBatchVouchers(trx, conferenceId, batchId, page)
      }),
    )
    return mapPage(found, toVoucherBody)
  }
  if (page.cursor !== undefined) throw invalidField('query/cursor', 'is allowed only with JSON')
  const read = await reads.of(request, 'export')
  const batchId = await read((db) =>
    withTenant(db, { conferenceId }, (trx) => findBatch(trx, caller)),
  )
  void reply
    .type(MEDIA_TYPES[format])
    .header('content-disposition', `attachment; filename="vouchers-${name}.${format}"`)
  return reply.send(
    exportVouchers(read, conferenceId, batchId, format, {
      withAssignments: include === 'assignment',
    }),
  )
}

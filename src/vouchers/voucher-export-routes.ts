import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Db, Tx } from '../db/connect.ts'
import { mapPage, type PageQuery } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { acceptedFormat } from '../http/accepted-format.ts'
import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { invalidField } from '../shared/errors.ts'
import { type ExportFormat, exportVouchers } from './export-vouchers.ts'
import { toVoucherBody } from './voucher.ts'
import { findPurchaseBatch, getBatch } from './voucher-batch-store.ts'
import { batchParams, voucherPage, vouchersOfPurchaseParams } from './voucher-schemas.ts'
import { listBatchVouchers } from './voucher-store.ts'

const CONFERENCE = '/v1/conferences/:conference'
const access: AccessRule = { anyOf: ['vouchers:read'], sponsor: true }
const tags = ['Vouchers']
const description =
  'In the order of issue. JSON comes in pages; `text/csv` and `application/x-ndjson`, asked for by `Accept`, come whole, as one stream and from one moment.'

const MEDIA_TYPES: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson; charset=utf-8',
}

const querystring = z.strictObject(pageQuery)

const text = (explanation: string) => z.string().meta({ description: explanation })

const response = {
  200: {
    description: 'The codes.',
    content: {
      'application/json': { schema: voucherPage },
      'text/csv': { schema: text('code,times_used,max_uses,is_active,valid_from,valid_until') },
      'application/x-ndjson': { schema: text('One Voucher object a line.') },
    },
  },
}

/** `C/purchases/{id}/vouchers` and `C/voucher-batches/{id}/vouchers`: the codes themselves. */
export function voucherExportRoutes(app: App, { db }: RouteDeps): void {
  app.get(
    `${CONFERENCE}/purchases/:purchase/vouchers`,
    {
      config: { access },
      schema: {
        operationId: 'listPurchaseVouchers',
        summary: 'List or export the codes of a purchase',
        description,
        tags,
        params: vouchersOfPurchaseParams,
        querystring,
        response,
      },
    },
    (request, reply) => {
      const { purchase } = request.params
      return sendVouchers(db, request, reply, request.query, purchase, (trx, conference, sponsor) =>
        findPurchaseBatch(trx, conference, purchase, sponsor),
      )
    },
  )

  app.get(
    `${CONFERENCE}/voucher-batches/:batch/vouchers`,
    {
      config: { access },
      schema: {
        operationId: 'listBatchVouchers',
        summary: 'List or export the codes of a batch',
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
        db,
        request,
        reply,
        request.query,
        batch,
        async (trx, conference, sponsor) => (await getBatch(trx, conference, batch, sponsor)).id,
      )
    },
  )
}

/** Finds the batch that the caller may see. @throws AppError `not_found` */
type FindBatch = (trx: Tx, conferenceId: string, sponsorId: string | null) => Promise<string | null>

async function sendVouchers(
  db: Db,
  request: FastifyRequest,
  reply: FastifyReply,
  page: PageQuery,
  name: string,
  findBatch: FindBatch,
) {
  const { conferenceId, sponsorId } = callerOf(request)
  const format = acceptedFormat(request.headers.accept)
  // The answer depends on it, and a cache between us and the caller must know.
  void reply.header('vary', 'accept').header('cache-control', 'no-store')
  if (format === 'json') {
    const found = await withTenant(db, { conferenceId }, async (trx) => {
      const batchId = await findBatch(trx, conferenceId, sponsorId)
      if (batchId === null) return { data: [], has_more: false, next_cursor: null }
      return listBatchVouchers(trx, conferenceId, batchId, page)
    })
    return mapPage(found, toVoucherBody)
  }
  if (page.cursor !== undefined) throw invalidField('query/cursor', 'is only for JSON')
  const batchId = await withTenant(db, { conferenceId }, (trx) =>
    findBatch(trx, conferenceId, sponsorId),
  )
  void reply
    .type(MEDIA_TYPES[format])
    .header('content-disposition', `attachment; filename="vouchers-${name}.${format}"`)
  return reply.send(exportVouchers(db, conferenceId, batchId, format))
}

import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { type ReadDb, withTenant } from '../db/tenant-scope.ts'
import { acceptedFormat } from '../http/accepted-format.ts'
import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { conferenceParams, id } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { toCsv } from './report-csv.ts'
import {
  findPurchaseDocuments,
  REPORT_SETTINGS,
  reportPurchases,
  reportVouchers,
} from './report-queries.ts'
import {
  PURCHASE_COLUMNS,
  purchaseDocumentsSchema,
  purchaseReportQuery,
  purchaseReportSchema,
  VOUCHER_COLUMNS,
  voucherReportQuery,
  voucherReportSchema,
} from './report-schemas.ts'

const access = { anyOf: ['purchases:read'] } as const satisfies AccessRule
const tags = ['Reports']
const description =
  'JSON by default. With `Accept: text/csv`, one line per group, without the totals.'

/** The response of a report in both forms. */
export const reportAnswer = <T extends z.ZodType>(schema: T, columns: readonly string[]) => ({
  200: {
    description: 'The report.',
    content: {
      'application/json': { schema },
      'text/csv': { schema: z.string().meta({ description: columns.join(',') }) },
    },
  },
})

/** Whether the caller wants CSV. Sets the headers of the answer. */
export function asCsv(request: FastifyRequest, reply: FastifyReply): boolean {
  void reply.header('vary', 'accept').header('cache-control', 'no-store')
  if (acceptedFormat(request.headers.accept) !== 'csv') return false
  void reply.type('text/csv; charset=utf-8; header=present')
  return true
}

/** `C/reports/purchases` and `C/reports/vouchers`. */
export function reportRoutes(app: App, { reads }: RouteDeps): void {
  app.get(
    '/v1/conferences/:conference/reports/purchases',
    {
      config: { access },
      schema: {
        operationId: 'reportPurchases',
        summary: 'Count and sum purchases',
        description: `By the day of the order. For money by the day of the payment, see \`reports/money\`. ${description}`,
        tags,
        params: conferenceParams,
        querystring: purchaseReportQuery,
        response: reportAnswer(purchaseReportSchema, PURCHASE_COLUMNS),
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const read = await reads.of(request)
      const report = await read((db) =>
        withReportSettings(db, conferenceId, (trx) =>
          reportPurchases(trx, conferenceId, request.query),
        ),
      )
      return asCsv(request, reply) ? reply.send(toCsv(report.data, PURCHASE_COLUMNS)) : report
    },
  )

  app.get(
    '/v1/conferences/:conference/reports/vouchers',
    {
      config: { access: { ...access, sponsor: true } },
      schema: {
        operationId: 'reportVouchers',
        summary: 'Count vouchers and their uses',
        description: `A sponsor gets the counts of its own vouchers. ${description}`,
        tags,
        params: conferenceParams,
        querystring: voucherReportQuery,
        response: reportAnswer(voucherReportSchema, VOUCHER_COLUMNS),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const read = await reads.of(request)
      const report = await read((db) =>
        withReportSettings(db, caller.conferenceId, (trx) =>
          reportVouchers(trx, caller, request.query),
        ),
      )
      return asCsv(request, reply) ? reply.send(toCsv(report.data, VOUCHER_COLUMNS)) : report
    },
  )
}

/** `C/purchases/{id}/documents` */
export function purchaseDocumentsRoute(app: App, { db }: RouteDeps): void {
  app.get(
    '/v1/conferences/:conference/purchases/:purchase/documents',
    {
      config: { access: { ...access, sponsor: true } },
      schema: {
        operationId: 'listPurchaseDocuments',
        summary: "List Stripe's receipts and invoices of a purchase",
        description:
          'Oldest first, from the mirror, so a new one appears some seconds after the payment. A payment outside Stripe has none.',
        tags: ['Purchases'],
        params: conferenceParams.extend({ purchase: id }),
        response: { 200: purchaseDocumentsSchema },
      },
    },
    (request) => {
      const caller = callerOf(request)
      return withTenant(db, caller, async (trx) => ({
        data: await findPurchaseDocuments(trx, caller, request.params.purchase),
      }))
    },
  )
}

/** Runs a report in a transaction with the settings of reports. */
export const withReportSettings = <T>(
  db: ReadDb,
  conferenceId: string,
  work: (trx: Tx) => Promise<T>,
) => withTenant(db, { conferenceId }, work, REPORT_SETTINGS)

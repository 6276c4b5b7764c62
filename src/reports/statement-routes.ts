import { withTenant } from '../db/tenant-scope.ts'
import { callerOf } from '../http/access-control.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { sponsorParams } from '../sponsors/sponsor-schemas.ts'
import { toCsv } from './report-csv.ts'
import { asCsv, reportAnswer } from './report-routes.ts'
import { readStatement } from './sponsor-statement.ts'
import {
  STATEMENT_COLUMNS,
  statementQuery,
  statementSchema,
  toStatementLines,
} from './statement-schemas.ts'

/** `C/sponsors/{id}/statement` */
export function statementRoutes(app: App, { db }: Pick<RouteDeps, 'db'>): void {
  app.get(
    '/v1/conferences/:conference/sponsors/:id/statement',
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'getSponsorStatement',
        summary: "Get a sponsor's statement",
        description:
          'All purchases and charges of a sponsor with their payments, refunds and disputes, from the opening to the closing balance. The date of an entry is when the service booked it, so a statement of past days does not change. Invoices of subscriptions are not included. A sponsor gets only its own statement. JSON by default; CSV with `Accept: text/csv`.',
        tags: ['Reports'],
        params: sponsorParams,
        querystring: statementQuery,
        response: reportAnswer(statementSchema, STATEMENT_COLUMNS),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const statement = await withTenant(db, caller, (trx) =>
        readStatement(trx, caller, request.params.id, request.query),
      )
      return asCsv(request, reply)
        ? reply.send(toCsv(toStatementLines(statement), STATEMENT_COLUMNS))
        : statement
    },
  )
}

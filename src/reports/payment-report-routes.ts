import { callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { reportDays, reportIssueTimes, reportMoney } from './money-queries.ts'
import { toCsv } from './report-csv.ts'
import { asCsv, reportAnswer, withReportSettings } from './report-routes.ts'
import {
  ISSUE_TIME_COLUMNS,
  issueTimeReportSchema,
  MONEY_COLUMNS,
  moneyReportQuery,
  moneyReportSchema,
  reportDaysQuery,
} from './report-schemas.ts'

const access = { anyOf: ['purchases:read'] } as const
const tags = ['Reports']
const FORMATS = 'Days are in UTC. JSON by default. With `Accept: text/csv`, CSV without the totals.'

/** `C/reports/money` and `C/reports/issue-times`: by the day of the payment. */
export function paymentReportRoutes(app: App, { reads }: RouteDeps): void {
  app.get(
    '/v1/conferences/:conference/reports/money',
    {
      config: { access },
      schema: {
        operationId: 'reportMoney',
        summary: 'Sum payments and refunds of purchases',
        description: `Each payment and refund counts on the day on which it happened, in its own currency. Free codes, charges and subscriptions are not included. ${FORMATS}`,
        tags,
        params: conferenceParams,
        querystring: moneyReportQuery,
        response: reportAnswer(moneyReportSchema, MONEY_COLUMNS),
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const days = reportDays(request.query, new Date())
      const read = await reads.of(request)
      const report = await read((db) =>
        withReportSettings(db, conferenceId, (trx) =>
          reportMoney(trx, conferenceId, request.query, days),
        ),
      )
      return asCsv(request, reply) ? reply.send(toCsv(report.data, MONEY_COLUMNS)) : report
    },
  )

  app.get(
    '/v1/conferences/:conference/reports/issue-times',
    {
      config: { access },
      schema: {
        operationId: 'reportIssueTimes',
        summary: 'Show how long it took from payment to vouchers',
        description: `The time from the payment until all vouchers of the purchase existed. It begins with the charge at Stripe, or with the payment date that staff recorded. For a bank debit that was pending, it begins when the service learned that the debit succeeded. ${FORMATS}`,
        tags,
        params: conferenceParams,
        querystring: reportDaysQuery,
        response: reportAnswer(issueTimeReportSchema, ISSUE_TIME_COLUMNS),
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const days = reportDays(request.query, new Date())
      const read = await reads.of(request)
      const report = await read((db) =>
        withReportSettings(db, conferenceId, (trx) => reportIssueTimes(trx, conferenceId, days)),
      )
      return asCsv(request, reply) ? reply.send(toCsv(report.data, ISSUE_TIME_COLUMNS)) : report
    },
  )
}

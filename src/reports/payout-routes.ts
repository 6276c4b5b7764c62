import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { listPayouts, readBalance, readPayout } from './payout-report.ts'
import {
  balanceQuery,
  balanceReportSchema,
  ITEM_COLUMNS,
  PAYOUT_COLUMNS,
  payoutPage,
  payoutParams,
  payoutQuery,
  payoutReportSchema,
  toItemLines,
} from './payout-schemas.ts'
import { toCsv } from './report-csv.ts'
import { asCsv, reportAnswer } from './report-routes.ts'

const PATH = '/v1/conferences/:conference/reports'
const access: AccessRule = { anyOf: ['purchases:read'] }
const tags = ['Reports']

/** `C/reports/payouts` and `C/reports/balance`: the money of Stripe's payouts, and the purchases that it paid. */
export function payoutRoutes(
  app: App,
  deps: Pick<RouteDeps, 'db'> & { clients: Pick<StripeClients, 'background'> },
): void {
  app.get(
    `${PATH}/payouts`,
    {
      config: { access },
      schema: {
        operationId: 'listPayouts',
        summary: "List the payouts of the conference's Stripe account",
        description:
          'Newest first, from Stripe. Conferences that share a Stripe account share its payouts. JSON by default; CSV with `Accept: text/csv`.',
        tags,
        params: conferenceParams,
        querystring: payoutQuery,
        response: reportAnswer(payoutPage, PAYOUT_COLUMNS),
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const page = await listPayouts(deps, conferenceId, request.query)
      return asCsv(request, reply) ? reply.send(toCsv(page.data, PAYOUT_COLUMNS)) : page
    },
  )

  app.get(
    `${PATH}/payouts/:payout`,
    {
      config: { access },
      schema: {
        operationId: 'reconcilePayout',
        summary: 'Reconcile a payout with the purchases',
        description:
          "Reads the payout's balance transactions from Stripe and shows to which purchase, charge or subscription each belongs. Their net sum must equal the amount of the payout. Amounts of entries are in the currency of the balance. A large payout takes longer: one request to Stripe reads 100 entries, within the account's rate limit. CSV with `Accept: text/csv`: one line for each entry.",
        tags,
        params: payoutParams,
        response: reportAnswer(payoutReportSchema, ITEM_COLUMNS),
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const report = await readPayout(deps, conferenceId, request.params.payout)
      if (!asCsv(request, reply)) return report
      const lines = toItemLines({ ...report, currencies: [report] })
      return reply.send(toCsv(lines, ITEM_COLUMNS))
    },
  )

  app.get(
    `${PATH}/balance`,
    {
      config: { access },
      schema: {
        operationId: 'reportBalance',
        summary: "Report the movements of the Stripe account's balance",
        description:
          'All balance transactions of a range of days, from Stripe, with the same entries as a payout. Use it to reconcile manual payouts: Stripe does not list which money they contain. CSV with `Accept: text/csv`: one line for each entry.',
        tags,
        params: conferenceParams,
        querystring: balanceQuery,
        response: reportAnswer(balanceReportSchema, ITEM_COLUMNS),
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const report = await readBalance(deps, conferenceId, request.query)
      return asCsv(request, reply) ? reply.send(toCsv(toItemLines(report), ITEM_COLUMNS)) : report
    },
  )
}

import type { Command } from 'commander'
import { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { reportDays, reportMoney } from '../reports/money-queries.ts'
import { listPayouts, readPayout } from '../reports/payout-report.ts'
import {
  ITEM_COLUMNS,
  type ItemBody,
  PAYOUT_COLUMNS,
  type PayoutBody,
  type PayoutReport,
  payoutParams,
  payoutQuery,
  toItemLines,
} from '../reports/payout-schemas.ts'
import { toCsv } from '../reports/report-csv.ts'
import { REPORT_SETTINGS } from '../reports/report-queries.ts'
import { MONEY_COLUMNS, type MoneyReport, moneyReportQuery } from '../reports/report-schemas.ts'
import { readStatement } from '../reports/sponsor-statement.ts'
import {
  type AccountBody,
  STATEMENT_COLUMNS,
  statementQuery,
  toStatementLines,
} from '../reports/statement-schemas.ts'
import { formatMoney } from '../shared/money.ts'
import { findConference, withSession } from './cli-session.ts'
import { addCommand, addPageOptions, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, momentText, renderFields, renderPage, renderTable } from './table.ts'
import type { Paint } from './terminal.ts'

const statementInput = z.object({
  conference: z.string().min(1),
  sponsor: z.string().min(1),
  csv: z.boolean().optional(),
})

/** `sponsors:statement` */
export function addSponsorsStatement(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'sponsors:statement <sponsor>',
    summary: 'Show what a sponsor ordered, paid and got back',
    details:
      'All purchases and charges with their payments and refunds. The sponsor owes a positive balance. Days are in UTC.',
    examples: [
      ['sponsors:statement acme --conference devconf', 'everything'],
      [
        'sponsors:statement acme --conference devconf --from 2027-01-01 --to 2027-03-31 --csv',
        'a quarter, as CSV',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--from <day>', 'the first day, such as 2027-01-01')
    .option('--to <day>', 'the last day')
    .option('--csv', 'print CSV, as the API has it')

  command.action(async (reference: string) => {
    const { from, to, ...rest } = toFields(command.opts())
    const { conference, sponsor, csv } = parseInput(statementInput, { ...rest, sponsor: reference })
    const period = parseInput(statementQuery, { from, to })
    const body = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => readStatement(trx, caller, sponsor, period))
    })
    if (csv === true) cli.terminal.out.write(toCsv(toStatementLines(body), STATEMENT_COLUMNS))
    else {
      answer(cli, command, body, (paint) =>
        body.accounts.length === 0
          ? `${paint.dim('None.')}\n`
          : body.accounts.map((account) => renderAccount(account, paint)).join('\n'),
      )
    }
  })
}

const moneyInput = moneyReportQuery.extend({
  conference: z.string().min(1),
  csv: z.boolean().optional(),
})

/** `reports:money` */
export function addReportsMoney(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'reports:money',
    summary: 'Show what came in and went back, by the day of the payment',
    details:
      'Payments, refunds and lost disputes of purchases, each on the day on which it happened. Days are in UTC.',
    examples: [
      ['reports:money --conference devconf', 'the last 30 days'],
      [
        'reports:money --conference devconf --from 2027-03-01 --to 2027-03-31 --group-by item',
        'March, by ticket type',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--from <day>', 'the first day (default: 29 days before the last)')
    .option('--to <day>', 'the last day (default: today)')
    .option('--group-by <group>', 'day, item (ticket type or add-on) or day_and_item', 'day')
    .option('--csv', 'print CSV, as the API has it')

  command.action(async () => {
    const { conference, csv, ...query } = parseInput(moneyInput, toFields(command.opts()))
    const days = reportDays(query, new Date())
    const report = await withSession(cli, async ({ db }) => {
      const { conferenceId } = await findConference(db, conference)
      const read = (trx: Tx) => reportMoney(trx, conferenceId, query, days)
      return withTenant(db, { conferenceId }, read, REPORT_SETTINGS)
    })
    if (csv === true) cli.terminal.out.write(toCsv(report.data, MONEY_COLUMNS))
    else {
      const columns = MONEY_TABLE.filter(
        ({ group }) => group === null || query.group_by.includes(group),
      )
      answer(cli, command, report, (paint) =>
        report.data.length === 0
          ? `${paint.dim('None.')}\n`
          : renderTable([...report.data, ...report.totals.map(asTotal)], columns, paint),
      )
    }
  })
}

type MoneyLine = MoneyReport['data'][number]

const asTotal = (total: MoneyReport['totals'][number]): MoneyLine => ({
  ...total,
  day: 'total',
  item: 'total',
  item_name: null,
})

const moneyColumn = (head: string, of: 'received' | 'refunded' | 'lost' | 'net') => ({
  group: null,
  head,
  cell: (line: MoneyLine) => formatMoney(line[of], line.currency),
  align: 'right' as const,
})

/** `group`: shown only if the report is grouped by it. */
const MONEY_TABLE: readonly (Column<MoneyLine> & { group: 'day' | 'item' | null })[] = [
  { group: 'day', head: 'DAY (UTC)', cell: ({ day }) => day ?? '' },
  { group: 'item', head: 'TICKET', cell: ({ item_name: name, item }) => name ?? item ?? 'other' },
  { group: null, head: 'PAYMENTS', cell: ({ payments }) => String(payments), align: 'right' },
  moneyColumn('RECEIVED', 'received'),
  moneyColumn('REFUNDED', 'refunded'),
  moneyColumn('LOST', 'lost'),
  moneyColumn('NET', 'net'),
]

type Line = Omit<Partial<AccountBody['entries'][number]>, 'type'> & { type: string }

function renderAccount(account: AccountBody, paint: Paint): string {
  const { currency, opening_balance: opening, entries, closing_balance: closing } = account
  const money = (amount: number | undefined) =>
    amount === undefined ? '' : formatMoney(amount, currency)
  const columns: readonly Column<Line>[] = [
    { head: 'DATE (UTC)', cell: ({ date }) => (date === undefined ? '' : momentText(date)) },
    { head: 'TYPE', cell: ({ type }) => type, paint: (_line, { bold }) => bold },
    { head: 'ORDER', cell: ({ purchase, charge }) => purchase ?? charge ?? '' },
    { head: 'REFERENCE', cell: ({ reference }) => reference ?? '' },
    { head: 'AMOUNT', cell: ({ amount }) => money(amount), align: 'right' },
    { head: 'BALANCE', cell: ({ balance }) => money(balance), align: 'right' },
  ]
  const lines = [
    { type: 'opening balance', balance: opening },
    ...entries,
    { type: 'closing balance', balance: closing },
  ]
  return renderTable(lines, columns, paint)
}

const payoutsInput = payoutQuery.extend({
  conference: z.string().min(1),
  csv: z.boolean().optional(),
})

/** `payouts:list` */
export function addPayoutsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'payouts:list',
    summary: "List the payouts of a conference's Stripe account, newest first",
    examples: [
      ['payouts:list --conference devconf --status failed', 'payouts that did not arrive'],
      ['payouts:list --conference devconf --from 2027-01-01 --to 2027-01-31', 'by day of arrival'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--status <status>', 'pending, in_transit, paid, failed or canceled')
    .option('--from <day>', 'the first day of arrival (UTC)')
    .option('--to <day>', 'the last day of arrival (UTC)')
    .option('--csv', 'print CSV, as the API has it')

  addPageOptions(command).action(async () => {
    const { conference, csv, ...query } = parseInput(payoutsInput, toFields(command.opts()))
    const page = await withSession(cli, async (session) => {
      const { conferenceId } = await findConference(session.db, conference)
      return listPayouts(session, conferenceId, query)
    })
    if (csv === true) cli.terminal.out.write(toCsv(page.data, PAYOUT_COLUMNS))
    else answer(cli, command, page, (paint) => renderPage(page, PAYOUTS, paint))
  })
}

const PAYOUTS: readonly Column<PayoutBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  {
    head: 'STATUS',
    cell: ({ status }) => status,
    paint: ({ status }, { red, bold }) => (status === 'failed' ? red : bold),
  },
  { head: 'AMOUNT', cell: ({ amount, currency }) => formatMoney(amount, currency), align: 'right' },
  { head: 'ARRIVES', cell: ({ arrival_date: day }) => day },
  { head: 'BY', cell: ({ automatic }) => (automatic ? 'schedule' : 'hand') },
  { head: 'CREATED (UTC)', cell: ({ created_at: at }) => momentText(at) },
]

const payoutInput = z.object({
  conference: z.string().min(1),
  payout: payoutParams.shape.payout,
  csv: z.boolean().optional(),
})

/** `payouts:show` */
export function addPayoutsShow(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'payouts:show <payout>',
    summary: 'Reconcile a payout with the purchases',
    details:
      'Shows to which purchase, charge or subscription each balance transaction of the payout belongs, and whether their sum is the payout.',
    examples: [
      ['payouts:show po_1MtHbELkdIwHu7ix --conference devconf', 'as a table'],
      ['payouts:show po_1MtHbELkdIwHu7ix --conference devconf --csv', 'one line for each entry'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--csv', 'print CSV, as the API has it')

  command.action(async (payout: string) => {
    const fields = { ...toFields(command.opts()), payout }
    const { conference, csv, ...input } = parseInput(payoutInput, fields, { payout: '<payout>' })
    const report = await withSession(cli, async (session) => {
      const { conferenceId } = await findConference(session.db, conference)
      return readPayout(session, conferenceId, input.payout)
    })
    if (csv === true) {
      cli.terminal.out.write(toCsv(toItemLines({ ...report, currencies: [report] }), ITEM_COLUMNS))
    } else answer(cli, command, report, (paint) => renderPayout(report, paint))
  })
}

function renderPayout(report: PayoutReport, paint: Paint): string {
  const { totals, currency } = report
  const sums = (['conference', 'payout', 'other', 'all'] as const).map((belongsTo) => ({
    belongsTo,
    ...totals[belongsTo],
  }))
  const money = (amount: number) => formatMoney(amount, currency)
  const head = renderFields(
    [
      ['payout', report.id],
      ['status', report.status],
      ['amount', money(report.amount)],
      ['arrives', report.arrival_date],
      ['reconciliation', report.reconciliation],
      ['', report.detail],
    ],
    paint,
  )
  const totalsTable = renderTable(
    sums,
    [
      { head: 'OF', cell: ({ belongsTo }) => belongsTo },
      { head: 'ENTRIES', cell: ({ count }) => count, align: 'right' },
      { head: 'GROSS', cell: ({ gross }) => money(gross), align: 'right' },
      { head: 'FEE', cell: ({ fee }) => money(fee), align: 'right' },
      { head: 'NET', cell: ({ net }) => money(net), align: 'right' },
    ],
    paint,
  )
  const items = report.items.length === 0 ? '' : `\n${renderTable(report.items, ITEMS, paint)}`
  return `${head}\n${totalsTable}${items}`
}

const ITEMS: readonly Column<ItemBody>[] = [
  { head: 'CREATED (UTC)', cell: ({ created_at: at }) => momentText(at) },
  { head: 'CATEGORY', cell: ({ category }) => category },
  {
    head: 'OF',
    cell: (item) => item.purchase ?? item.charge ?? item.subscription ?? item.payout ?? 'other',
  },
  { head: 'SPONSOR', cell: ({ sponsor_name: name }) => name },
  { head: 'GROSS', cell: ({ gross, currency }) => formatMoney(gross, currency), align: 'right' },
  { head: 'FEE', cell: ({ fee, currency }) => formatMoney(fee, currency), align: 'right' },
  { head: 'NET', cell: ({ net, currency }) => formatMoney(net, currency), align: 'right' },
]

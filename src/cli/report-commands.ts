import type { Command } from 'commander'
import { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { reportDays, reportMoney } from '../reports/money-queries.ts'
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
import { addCommand, answer, type Cli, parseInput, toFields } from './command.ts'
import { type Column, momentText, renderTable } from './table.ts'
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
      'Purchases and charges with all their money. A positive balance is owed by the sponsor. Days are those of UTC.',
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
      'Payments, refunds and lost disputes of purchases, each on the day on which it happened. Days are those of UTC.',
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

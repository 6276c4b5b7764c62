import type { Tx } from '../db/connect.ts'
import { invalidField } from '../shared/errors.ts'
import type {
  IssueTimeReport,
  MoneyReport,
  MoneyReportQuery,
  ReportDaysQuery,
} from './report-schemas.ts'

/** Both days count. */
export type ReportDays = { from: string; to: string }

const DAY_MS = 86_400_000
const MAX_DAYS = 366
const DEFAULT_DAYS = 30

const dayOf = (time: number) => new Date(time).toISOString().slice(0, 10)

/**
 * The days of a report: by default, the last 30 until today.
 *
 * @throws AppError `validation_failed` if they are not in order, or too many.
 */
export function reportDays(query: ReportDaysQuery, now: Date): ReportDays {
  const to = query.to ?? dayOf(now.getTime())
  const from = query.from ?? dayOf(Date.parse(to) - (DEFAULT_DAYS - 1) * DAY_MS)
  const days = (Date.parse(to) - Date.parse(from)) / DAY_MS + 1
  if (days < 1) throw invalidField('query/from', `must not be after ${to}`)
  if (days > MAX_DAYS) {
    throw invalidField('query/from', `must be at most ${MAX_DAYS - 1} days before ${to}`)
  }
  return { from, to }
}

const WITHIN = `conference_id = :conferenceId
    and "day" between cast(:from as date) and cast(:to as date)`

/** It replaces the date of the same name, by which rows are ordered. */
const DAY_TEXT = `to_char("day", 'YYYY-MM-DD') as "day"`

/** The rows of groups and those of totals, which lack these columns of a group. */
function divided<Row extends { is_total: boolean }, Column extends string>(
  rows: readonly Row[],
  columns: readonly Column[],
): { data: Omit<Row, 'is_total'>[]; totals: Omit<Row, 'is_total' | Column>[] } {
  const without = <Name extends string>(row: Row, names: readonly Name[]) =>
    Object.fromEntries(
      Object.entries(row).filter(([name]) => !(names as readonly string[]).includes(name)),
    ) as Omit<Row, Name>
  return {
    data: rows.filter((row) => !row.is_total).map((row) => without(row, ['is_total'])),
    totals: rows
      .filter((row) => row.is_total)
      .map((row) => without(row, ['is_total', ...columns] as const)),
  }
}

/** How a movement of money is counted: as one more, or one less if it takes an earlier one back. */
const COUNT = 'case when amount > 0 then 1 else -1 end'

/** SQL for each sum of the report, over the movements of one group. */
const SUMS = {
  payments: `sum(count) filter (where kind = 'payment')`,
  refunds: `sum(count) filter (where kind = 'refund')`,
  received: `sum(amount) filter (where kind = 'payment')`,
  refunded: `sum(amount) filter (where kind = 'refund')`,
  lost: `sum(amount) filter (where kind = 'dispute')`,
  net: `sum(case kind when 'payment' then amount else -amount end)`,
  recorded_received: `sum(amount) filter (where kind = 'payment' and source = 'recorded')`,
  recorded_refunded: `sum(amount) filter (where kind = 'refund' and source = 'recorded')`,
} as const

const MONEY_SUMS = Object.entries(SUMS)
  .map(([name, sql]) => `coalesce(${sql}, 0)::bigint as ${name}`)
  .join(', ')

type MoneyRow = MoneyReport['data'][number] & { is_total: boolean }

/**
 * What purchases received and refunded, on the day on which it happened, by day, item and currency. It reads
 * the movements alone (migrations/0083_money_of_charges.ts), and sums few groups afterwards.
 */
export async function reportMoney(
  trx: Tx,
  conferenceId: string,
  { group_by: groupBy }: Pick<MoneyReportQuery, 'group_by'>,
  days: ReportDays,
): Promise<MoneyReport> {
  const byDay = groupBy !== 'item'
  const byItem = groupBy !== 'day'
  const { rows } = await trx.raw<{ rows: MoneyRow[] }>(
    `with moved as (
       select ${byDay ? '"day"' : 'cast(null as date) as "day"'},
         ${byItem ? 'item_id' : 'cast(null as text)'} as item, currency, kind, source,
         sum(amount) as amount, sum(${COUNT}) as count
       from money_movements where ${WITHIN} and purchase_id is not null
       group by 1, 2, currency, kind, source),
     summed as (
       select "day", item, currency, grouping(item) = 1 as is_total, ${MONEY_SUMS}
       from moved group by grouping sets (("day", item, currency), (currency)))
     select summed.*, ${DAY_TEXT}, coalesce(
       (select t.name from ticket_types t where t.conference_id = :conferenceId and t.id = item),
       (select a.name from add_ons a where a.conference_id = :conferenceId and a.id = item)) as item_name
     from summed order by summed."day", item_name, item, currency`,
    { conferenceId, ...days },
  )
  return {
    object: 'money_report',
    group_by: groupBy,
    time_zone: 'UTC',
    ...days,
    ...divided(rows, ['day', 'item', 'item_name']),
  }
}

/** SQL for the smallest time that at least this share of the group's times does not exceed. */
const percentile = (share: number) =>
  `(min(seconds) filter (where so_far >= ${share} * in_all))::integer`

type IssueTimeRow = IssueTimeReport['data'][number] & { is_total: boolean }

/**
 * How long it took from a payment until all its vouchers existed, by the day of the payment. Equal times are
 * counted before percentiles are taken, so it sorts few rows.
 */
export async function reportIssueTimes(
  trx: Tx,
  conferenceId: string,
  days: ReportDays,
): Promise<IssueTimeReport> {
  const { rows } = await trx.raw<{ rows: IssueTimeRow[] }>(
    `with taken as (
       select "day", source, seconds, count(*) as count
       from voucher_issue_times where ${WITHIN}
       group by "day", source, seconds),
     counted as (
       select "day", source, seconds, grouping("day") = 1 as is_total, sum(count) as count
       from taken group by grouping sets (("day", source, seconds), (source, seconds))),
     ranked as (
       select *, sum(count) over (of_group order by seconds) as so_far,
         sum(count) over of_group as in_all
       from counted window of_group as (partition by is_total, "day", source))
     select ${DAY_TEXT}, source, is_total, sum(count)::bigint as count,
       ${percentile(0.5)} as p50, ${percentile(0.95)} as p95, max(seconds) as max
     from ranked group by ranked."day", source, is_total
     order by ranked."day", source`,
    { conferenceId, ...days },
  )
  return {
    object: 'issue_time_report',
    time_zone: 'UTC',
    ...days,
    ...divided(rows, ['day']),
  }
}

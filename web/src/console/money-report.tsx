import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { saveFile } from '../api/download.ts'
import { Button } from '../ui/controls.tsx'
import { type Column, DataTable, Figure, Money } from '../ui/data.tsx'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { exponentOf, formatCount, formatMoney, toMajorUnits } from '../ui/format.ts'
import type { ChartDay, Series } from './day-chart.tsx'
import { daysOf, type Period, reportDaysOf } from './report-period.ts'
import type { ConsoleScope } from './scope.ts'

const DayChart = lazy(async () => ({ default: (await import('./day-chart.tsx')).DayChart }))

type Line = Schema<'MoneyReportGroup'>
type Total = Schema<'MoneyReportTotals'>

/** What came in and went back in a period, on the days on which it did, by ticket type. */
export function MoneyReport({ scope, period }: { scope: ConsoleScope; period: Period }) {
  const { conference, currency } = scope
  const report = useQuery({
    queryKey: ['reports', conference, 'money', period],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/reports/money', {
          params: {
            path: { conference },
            query: { group_by: 'day_and_item', ...reportDaysOf(period) },
          },
        }),
      ),
  })
  return (
    <section className="card stack">
      <div className="row row-apart">
        <h2>What came in</h2>
        <CsvButton conference={conference} period={period} />
      </div>
      <Loaded query={report}>
        {({ data, totals }) =>
          totals.length === 0 ? (
            <Empty title="No money came in or went back in this period." />
          ) : (
            totals
              .toSorted((a, b) => Number(b.currency === currency) - Number(a.currency === currency))
              .map((total) => (
                <CurrencyMoney
                  key={total.currency}
                  period={period}
                  total={total}
                  lines={data.filter((line) => line.currency === total.currency)}
                  isOnly={totals.length === 1}
                />
              ))
          )
        }
      </Loaded>
    </section>
  )
}

function CsvButton({ conference, period }: { conference: string; period: Period }) {
  const download = useAction({
    run: async () => {
      const query = { group_by: 'day_and_item', ...reportDaysOf(period) } as const
      const content = await dataOf(
        api.GET('/v1/conferences/{conference}/reports/money', {
          params: { path: { conference }, query },
          headers: { accept: 'text/csv' },
          parseAs: 'blob',
        }),
      )
      saveFile(content, `${conference}-money-${query.from}-${query.to}.csv`)
    },
  })
  return (
    <Button busy={download.isPending} onPress={() => download.mutate()}>
      Download CSV
    </Button>
  )
}

/** The money of one currency: amounts of several are never added. */
function CurrencyMoney({
  period,
  total,
  lines,
  isOnly,
}: {
  period: Period
  total: Total
  lines: readonly Line[]
  isOnly: boolean
}) {
  const { currency } = total
  const short = new Intl.NumberFormat(undefined, { notation: 'compact' })
  const { days, series } = chartOf(period, lines, currency)
  const minorUnits = 10 ** exponentOf(currency)
  const hasLosses = lines.some(({ lost }) => lost !== 0)
  const suffix = isOnly ? '' : ` in ${currency}`
  return (
    <>
      {isOnly ? null : <h3>{currency}</h3>}
      <dl className="figures figures-wide">
        <Figure
          name="Received"
          value={formatMoney(total.received, currency)}
          hint={partOf(total.recorded_received, currency)}
        />
        <Figure
          name="Refunded"
          value={formatMoney(total.refunded, currency)}
          hint={partOf(total.recorded_refunded, currency)}
        />
        {hasLosses ? (
          <Figure name="Lost in disputes" value={formatMoney(total.lost, currency)} />
        ) : null}
        <Figure name="Left" value={formatMoney(total.net, currency)} />
        <Figure name="Payments" value={formatCount(total.payments)} />
      </dl>
      <Suspense fallback={<Loading />}>
        <DayChart
          label={`Received and refunded by day and ticket type${suffix}. The tables below have the same numbers.`}
          days={days}
          series={series}
          format={(value) => short.format(value)}
          formatExactly={(value) => formatMoney(Math.round(value * minorUnits), currency)}
        />
      </Suspense>
      <p className="muted">Above the line: received. Below it: refunded, and lost in disputes.</p>
      <DataTable
        caption={`Money by ticket type${suffix}`}
        rows={byItem(lines)}
        keyOf={({ item }) => item ?? ''}
        columns={[ITEM, PAYMENTS, ...amounts(hasLosses)]}
      />
      <details>
        <summary>Day by day</summary>
        <DataTable
          caption={`Money by day and ticket type${suffix}`}
          rows={lines}
          keyOf={({ day, item }) => `${day} ${item}`}
          columns={[{ head: 'Day', cell: ({ day }) => day }, ITEM, ...amounts(hasLosses)]}
        />
      </details>
    </>
  )
}

const partOf = (recorded: number, currency: string) =>
  recorded === 0 ? undefined : `${formatMoney(recorded, currency)} of it outside Stripe`

const nameOf = ({ item, item_name: name }: Pick<Line, 'item' | 'item_name'>) =>
  name ?? item ?? 'Other'

const ITEM: Column<Line> = { head: 'Ticket type', cell: nameOf }
const PAYMENTS: Column<Line> = {
  head: 'Payments',
  numeric: true,
  cell: ({ payments }) => formatCount(payments),
}

const amount = (head: string, of: 'received' | 'refunded' | 'lost' | 'net'): Column<Line> => ({
  head,
  numeric: true,
  cell: (line) => <Money amount={line[of]} currency={line.currency} />,
})

const amounts = (hasLosses: boolean): Column<Line>[] => [
  amount('Received', 'received'),
  amount('Refunded', 'refunded'),
  ...(hasLosses ? [amount('Lost in disputes', 'lost')] : []),
  amount('Left', 'net'),
]

const SUMS = ['payments', 'refunds', 'received', 'refunded', 'lost', 'net'] as const

/** One line for each ticket type, that with the most money first. */
function byItem(lines: readonly Line[]): Line[] {
  const items = new Map<string | null, Line>()
  for (const line of lines) {
    const sums = items.get(line.item)
    if (sums === undefined) items.set(line.item, { ...line })
    else for (const name of SUMS) sums[name] += line[name]
  }
  return [...items.values()].toSorted((a, b) => b.received - a.received)
}

/** How many ticket types have a colour of their own; the others share one. */
const COLORS = 5
const colorOf = (place: number) => `var(--series-${Math.min(place, COLORS) + 1})`

/** What came in of each ticket type stands above the line, and what went back hangs below it. */
function chartOf(
  period: Period,
  lines: readonly Line[],
  currency: string,
): { days: ChartDay[]; series: Series[] } {
  const items = byItem(lines)
  const places = new Map(items.map(({ item }, place) => [item, Math.min(place, COLORS)]))
  const numbers = new Map<string | null, Record<string, number>>()
  const add = (day: string | null, key: string, value: number) => {
    if (value === 0) return
    const sums = numbers.get(day) ?? {}
    numbers.set(day, sums)
    sums[key] = (sums[key] ?? 0) + toMajorUnits(value, currency)
  }
  for (const { day, item, received, refunded, lost } of lines) {
    const place = places.get(item) ?? COLORS
    add(day, `in${place}`, received)
    add(day, `out${place}`, -refunded - lost)
  }
  const shown = items.slice(0, COLORS + 1).map((item, place) => ({
    name: place < COLORS || items.length === COLORS + 1 ? nameOf(item) : 'All others',
    place,
  }))
  return {
    days: daysOf(period).map((day) => ({ day, numbers: numbers.get(day) ?? {} })),
    series: shown.flatMap(({ name, place }) => [
      { key: `in${place}`, name, color: colorOf(place), stack: 'money' },
      {
        key: `out${place}`,
        name: `${name}: back`,
        color: colorOf(place),
        stack: 'money',
        isOther: true,
      },
    ]),
  }
}

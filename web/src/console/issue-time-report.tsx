import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { api, dataOf, type Schema } from '../api/client.ts'
import { DataTable, Figure } from '../ui/data.tsx'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { formatCount, formatDuration } from '../ui/format.ts'
import { daysOf, type Period, reportDaysOf } from './report-period.ts'
import type { ConsoleScope } from './scope.ts'

const DayChart = lazy(async () => ({ default: (await import('./day-chart.tsx')).DayChart }))

type Times = Schema<'IssueTimeReportTotals'>

/** Who says when the money came. */
const SOURCES: Record<Times['source'], string> = {
  stripe: 'Paid with Stripe',
  recorded: 'Paid outside Stripe',
}

/** How long sponsors waited for the codes that they had paid for. */
export function IssueTimeReport({ scope, period }: { scope: ConsoleScope; period: Period }) {
  const { conference } = scope
  const report = useQuery({
    queryKey: ['reports', conference, 'issue-times', period],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/reports/issue-times', {
          params: { path: { conference }, query: reportDaysOf(period) },
        }),
      ),
  })
  return (
    <section className="card stack">
      <h2>From payment to codes</h2>
      <Loaded query={report}>
        {({ data, totals }) => {
          const byStripe = new Map(
            data.flatMap((line) => (line.source === 'stripe' ? [[line.day, line]] : [])),
          )
          if (totals.length === 0) return <Empty title="No codes were paid for in this period." />
          return (
            <>
              {totals.toReversed().map((times) => (
                <SourceFigures key={times.source} times={times} />
              ))}
              {byStripe.size === 0 ? null : (
                <Suspense fallback={<Loading />}>
                  <DayChart
                    label="Time from a payment with Stripe to its codes, by day. The table below has the same numbers."
                    days={daysOf(period).map((day) => {
                      const line = byStripe.get(day)
                      const numbers = line === undefined ? {} : { half: line.p50, most: line.p95 }
                      return { day, numbers }
                    })}
                    series={[
                      { key: 'half', name: 'Half within', color: 'var(--series-1)' },
                      { key: 'most', name: '95 of 100 within', color: 'var(--series-2)' },
                    ]}
                    format={(seconds) => (seconds === 0 ? '0' : formatDuration(seconds))}
                    formatExactly={formatDuration}
                  />
                </Suspense>
              )}
              <details>
                <summary>Day by day</summary>
                <DataTable
                  caption="Time from payment to codes by day"
                  rows={data}
                  keyOf={({ day, source }) => `${day} ${source}`}
                  columns={[
                    { head: 'Day', cell: ({ day }) => day },
                    { head: 'Payment', cell: ({ source }) => SOURCES[source] },
                    { head: 'Purchases', numeric: true, cell: ({ count }) => formatCount(count) },
                    { head: 'Half within', numeric: true, cell: ({ p50 }) => formatDuration(p50) },
                    {
                      head: '95 of 100 within',
                      numeric: true,
                      cell: ({ p95 }) => formatDuration(p95),
                    },
                    { head: 'Longest', numeric: true, cell: ({ max }) => formatDuration(max) },
                  ]}
                />
              </details>
            </>
          )
        }}
      </Loaded>
    </section>
  )
}

function SourceFigures({ times: { source, count, p50, p95, max } }: { times: Times }) {
  return (
    <>
      <h3>{SOURCES[source]}</h3>
      {source === 'recorded' ? (
        <p className="muted">From the day on which the money came. Staff record it later.</p>
      ) : null}
      <dl className="figures figures-wide">
        <Figure name="Half within" value={formatDuration(p50)} />
        <Figure name="95 of 100 within" value={formatDuration(p95)} />
        <Figure name="Longest" value={formatDuration(max)} />
        <Figure name="Purchases" value={formatCount(count)} />
      </dl>
    </>
  )
}

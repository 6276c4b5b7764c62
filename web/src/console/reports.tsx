import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { Link } from 'wouter'
import { api, dataOf } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { DataTable, Figure } from '../ui/data.tsx'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { formatCount } from '../ui/format.ts'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { IssueTimeReport } from './issue-time-report.tsx'
import { MoneyReport } from './money-report.tsx'
import { daysOf, isPeriod, PERIODS, type Period, rangeOf } from './report-period.ts'
import type { ConsoleScope } from './scope.ts'

// The charts weigh more than all other pages together.
const DayChart = lazy(async () => ({ default: (await import('./day-chart.tsx')).DayChart }))

/** What came in and went back, how many codes were issued and redeemed, and how fast, in a period. */
export function Reports({ scope }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const chosen = url.get('period') ?? 'last-month'
  const period: Period = isPeriod(chosen) ? chosen : 'last-month'
  return (
    <>
      <PageHead title="Reports">
        <Link href="/reports/payouts">Payouts of Stripe</Link>
      </PageHead>
      <div className="filters">
        <SelectField
          label="Period"
          value={period}
          onChange={(key) => url.set('period', key)}
          options={PERIODS}
        />
      </div>
      <MoneyReport scope={scope} period={period} />
      <VoucherReport scope={scope} period={period} />
      <IssueTimeReport scope={scope} period={period} />
      <p className="muted">Days are those of UTC.</p>
    </>
  )
}

function VoucherReport({ scope, period }: { scope: ConsoleScope; period: Period }) {
  const { conference } = scope
  const report = useQuery({
    queryKey: ['reports', conference, 'vouchers', period],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/reports/vouchers', {
          params: { path: { conference }, query: { group_by: 'day', ...rangeOf(period) } },
        }),
      ),
  })
  return (
    <section className="card stack">
      <h2>Issued and redeemed</h2>
      <Loaded query={report}>
        {({ data, totals }) => (
          <>
            <dl className="figures">
              <Figure name="Issued" value={formatCount(totals.issued)} />
              <Figure name="Redeemed" value={formatCount(totals.redeemed)} />
              <Figure name="Can still be used" value={formatCount(totals.remaining)} />
              <Figure name="Deactivated" value={formatCount(totals.deactivated)} />
            </dl>
            {data.length === 0 ? (
              <Empty title="No code was issued in this period." />
            ) : (
              <>
                <Suspense fallback={<Loading />}>
                  <DayChart
                    label="Issued and redeemed codes by day of issue. The table below has the same numbers."
                    days={daysOf(period).map((day) => {
                      const line = data.find(({ group }) => group === day)
                      if (line === undefined) return { day, numbers: {} }
                      return { day, numbers: { issued: line.issued, redeemed: line.redeemed } }
                    })}
                    series={[
                      { key: 'issued', name: 'Issued', color: 'var(--series-1)' },
                      { key: 'redeemed', name: 'Redeemed', color: 'var(--series-2)' },
                    ]}
                    format={formatCount}
                  />
                </Suspense>
                <details>
                  <summary>Day by day</summary>
                  <DataTable
                    caption="Issued and redeemed codes by day of issue"
                    rows={data}
                    keyOf={({ group }) => group ?? ''}
                    columns={[
                      { head: 'Day', cell: ({ group }) => group },
                      { head: 'Issued', numeric: true, cell: ({ issued }) => issued },
                      { head: 'Redeemed', numeric: true, cell: ({ redeemed }) => redeemed },
                    ]}
                  />
                </details>
              </>
            )}
          </>
        )}
      </Loaded>
    </section>
  )
}

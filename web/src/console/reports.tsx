import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { api, dataOf } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { DataTable, Figure, Money } from '../ui/data.tsx'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { formatMoney, toMajorUnits } from '../ui/format.ts'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { daysOf, isPeriod, PERIODS, type Period, rangeOf } from './report-period.ts'
import type { ConsoleScope } from './scope.ts'

// The charts weigh more than all other pages together.
const DayChart = lazy(async () => ({ default: (await import('./day-chart.tsx')).DayChart }))

/** What came in and went back, and how many codes were issued and redeemed, in a period. */
export function Reports({ scope }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const chosen = url.get('period') ?? 'last-month'
  const period: Period = isPeriod(chosen) ? chosen : 'last-month'
  return (
    <>
      <PageHead title="Reports" />
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
      <p className="muted">
        A purchase counts on the day of its order, with all that was paid and refunded until now.
        Days are those of UTC.
      </p>
    </>
  )
}

function MoneyReport({ scope, period }: { scope: ConsoleScope; period: Period }) {
  const { conference, currency } = scope
  const report = useQuery({
    queryKey: ['reports', conference, 'purchases', period],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/reports/purchases', {
          params: { path: { conference }, query: { group_by: 'day', ...rangeOf(period) } },
        }),
      ),
  })
  const short = new Intl.NumberFormat(undefined, { notation: 'compact' })
  return (
    <section className="card stack">
      <h2>What came in</h2>
      <Loaded query={report}>
        {({ data, totals }) => {
          const total = totals.find((each) => each.currency === currency)
          const received = total?.amount_received ?? 0
          const refunded = total?.amount_refunded ?? 0
          const days = daysOf(
            period,
            data.flatMap((each) => (each.currency === currency ? [each] : [])),
          )
          return (
            <>
              <dl className="figures">
                <Figure name="Received" value={formatMoney(received, currency)} />
                <Figure name="Refunded" value={formatMoney(refunded, currency)} />
                <Figure name="Left" value={formatMoney(received - refunded, currency)} />
                <Figure name="Purchases" value={total?.count ?? 0} />
              </dl>
              {data.length === 0 ? (
                <Empty title="No purchase was ordered in this period." />
              ) : (
                <>
                  <Suspense fallback={<Loading />}>
                    <DayChart
                      label="Received and refunded by day. The table below has the same numbers."
                      days={days.map(({ day, row }) => ({
                        day,
                        first: toMajorUnits(row?.amount_received ?? 0, currency),
                        second: toMajorUnits(row?.amount_refunded ?? 0, currency),
                      }))}
                      names={['Received', 'Refunded']}
                      format={(value) => short.format(value)}
                    />
                  </Suspense>
                  <details>
                    <summary>As a table</summary>
                    <DataTable
                      caption="Received and refunded by day"
                      rows={data}
                      keyOf={({ group, currency: of }) => `${group} ${of}`}
                      columns={[
                        { head: 'Day', cell: ({ group }) => group },
                        { head: 'Purchases', numeric: true, cell: ({ count }) => count },
                        {
                          head: 'Received',
                          numeric: true,
                          cell: ({ amount_received: amount, currency: of }) => (
                            <Money amount={amount} currency={of} />
                          ),
                        },
                        {
                          head: 'Refunded',
                          numeric: true,
                          cell: ({ amount_refunded: amount, currency: of }) => (
                            <Money amount={amount} currency={of} />
                          ),
                        },
                      ]}
                    />
                  </details>
                </>
              )}
            </>
          )
        }}
      </Loaded>
    </section>
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
              <Figure name="Issued" value={totals.issued} />
              <Figure name="Redeemed" value={totals.redeemed} />
              <Figure name="Can still be used" value={totals.remaining} />
              <Figure name="Deactivated" value={totals.deactivated} />
            </dl>
            {data.length === 0 ? (
              <Empty title="No code was issued in this period." />
            ) : (
              <>
                <Suspense fallback={<Loading />}>
                  <DayChart
                    label="Issued and redeemed codes by day of issue. The table below has the same numbers."
                    days={daysOf(period, data).map(({ day, row }) => ({
                      day,
                      first: row?.issued ?? 0,
                      second: row?.redeemed ?? 0,
                    }))}
                    names={['Issued', 'Redeemed']}
                    format={String}
                  />
                </Suspense>
                <details>
                  <summary>As a table</summary>
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

import {
  Bar,
  BarChart,
  CartesianGrid,
  Legend,
  ReferenceLine,
  ResponsiveContainer,
  Tooltip,
  XAxis,
  YAxis,
} from 'recharts'

/** One number of each day. Bars with the same `stack` stand on each other; negative ones hang below the line. */
export type Series = {
  key: string
  name: string
  color: string
  stack?: string
  /** The other half of a series that the legend names. */
  isOther?: boolean
}

/** A day, and its numbers by the key of the series. A number that is absent is neither drawn nor named. */
export type ChartDay = { day: string; numbers: Partial<Record<string, number>> }

/** Numbers of each day as bars. A table beside it has the same numbers. */
export function DayChart({
  label,
  days,
  series,
  format,
  formatExactly = format,
}: {
  /** Read by screen readers in its place. */
  label: string
  days: readonly ChartDay[]
  series: readonly Series[]
  /** On the axis. */
  format: (value: number) => string
  /** When the pointer is over a day. */
  formatExactly?: (value: number) => string
}) {
  const rows = days.map(({ day, numbers }) => ({ day, ...numbers }))
  return (
    <div className="chart" role="img" aria-label={label}>
      <ResponsiveContainer width="100%" height={260}>
        <BarChart data={rows} accessibilityLayer={false} stackOffset="sign">
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis dataKey="day" stroke="var(--muted)" minTickGap={24} />
          <YAxis stroke="var(--muted)" width={60} tickFormatter={format} allowDecimals={false} />
          <Tooltip
            contentStyle={{ background: 'var(--surface)', border: '1px solid var(--line)' }}
            cursor={{ fill: 'var(--sunken)' }}
            formatter={(value) => formatExactly(Number(value))}
          />
          <Legend itemSorter={null} />
          <ReferenceLine y={0} stroke="var(--muted)" />
          {series.map(({ key, name, color, stack, isOther = false }) => (
            <Bar
              key={key}
              dataKey={key}
              name={name}
              fill={color}
              fillOpacity={isOther ? 0.5 : 1}
              legendType={isOther ? 'none' : 'rect'}
              isAnimationActive={false}
              {...(stack === undefined ? {} : { stackId: stack })}
            />
          ))}
        </BarChart>
      </ResponsiveContainer>
    </div>
  )
}

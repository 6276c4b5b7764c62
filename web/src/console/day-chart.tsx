import {
  Bar,
  BarChart,
  CartesianGrid,
  Legend,
  ResponsiveContainer,
  Tooltip,
  XAxis,
  YAxis,
} from 'recharts'

/** Two numbers for each day, side by side. A table beside it has the same numbers. */
export function DayChart({
  label,
  days,
  names: [first, second],
  format,
}: {
  /** Read by screen readers in its place. */
  label: string
  days: { day: string; first: number; second: number }[]
  names: readonly [string, string]
  format: (value: number) => string
}) {
  return (
    <div className="chart" role="img" aria-label={label}>
      <ResponsiveContainer width="100%" height={240}>
        <BarChart data={days} accessibilityLayer={false}>
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis dataKey="day" stroke="var(--muted)" minTickGap={24} />
          <YAxis stroke="var(--muted)" width={56} tickFormatter={format} allowDecimals={false} />
          <Tooltip
            contentStyle={{ background: 'var(--surface)', border: '1px solid var(--line)' }}
            cursor={{ fill: 'var(--sunken)' }}
          />
          <Legend />
          <Bar dataKey="first" name={first} fill="var(--accent)" isAnimationActive={false} />
          <Bar dataKey="second" name={second} fill="var(--warn)" isAnimationActive={false} />
        </BarChart>
      </ResponsiveContainer>
    </div>
  )
}

export const PERIODS = [
  { key: 'this-month', label: 'This month' },
  { key: 'last-month', label: 'Last month' },
  { key: '30-days', label: 'The last 30 days' },
  { key: 'this-year', label: 'This year' },
] as const

export type Period = (typeof PERIODS)[number]['key']

export const isPeriod = (text: string): text is Period => PERIODS.some(({ key }) => key === text)

const DAY_MS = 86_400_000

/** The first and the last moment of a period, by the days of UTC, as the reports count them. */
function boundsOf(period: Period, now = new Date()): { from: Date; until: Date } {
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()]
  const at = (y: number, m: number, d = 1) => new Date(Date.UTC(y, m, d))
  switch (period) {
    case 'this-month':
      return { from: at(year, month), until: at(year, month + 1) }
    case 'last-month':
      return { from: at(year, month - 1), until: at(year, month) }
    case '30-days': {
      const tomorrow = at(year, month, now.getUTCDate() + 1)
      return { from: new Date(tomorrow.getTime() - 30 * DAY_MS), until: tomorrow }
    }
    case 'this-year':
      return { from: at(year, 0), until: at(year + 1, 0) }
  }
}

/** The query of a report. Both ends are exclusive. */
export function rangeOf(period: Period): { created_after: string; created_before: string } {
  const { from, until } = boundsOf(period)
  return {
    created_after: new Date(from.getTime() - 1).toISOString(),
    created_before: until.toISOString(),
  }
}

/** Every day of the period until today, with its row of the report, if it has one. */
export function daysOf<Row extends { group: string | null }>(
  period: Period,
  rows: readonly Row[],
): { day: string; row: Row | undefined }[] {
  const { from, until } = boundsOf(period)
  const byDay = new Map(rows.map((row) => [row.group, row]))
  const end = Math.min(until.getTime(), Date.now())
  const days: { day: string; row: Row | undefined }[] = []
  for (let time = from.getTime(); time < end; time += DAY_MS) {
    const day = new Date(time).toISOString().slice(0, 10)
    days.push({ day, row: byDay.get(day) })
  }
  return days
}

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

/** The query of a report by the time of creation. Both ends are exclusive. */
export function rangeOf(period: Period): { created_after: string; created_before: string } {
  const { from, until } = boundsOf(period)
  return {
    created_after: new Date(from.getTime() - 1).toISOString(),
    created_before: until.toISOString(),
  }
}

const dayOf = (time: number) => new Date(time).toISOString().slice(0, 10)

/** The query of a report by the day of the payment. Both days count. */
export function reportDaysOf(period: Period): { from: string; to: string } {
  const { from, until } = boundsOf(period)
  return { from: dayOf(from.getTime()), to: dayOf(until.getTime() - DAY_MS) }
}

/** Every day of the period until today. */
export function daysOf(period: Period): string[] {
  const { from, until } = boundsOf(period)
  const end = Math.min(until.getTime(), Date.now())
  const days: string[] = []
  for (let time = from.getTime(); time < end; time += DAY_MS) days.push(dayOf(time))
  return days
}

type Interval = { interval: string; interval_count: number }

const DAY = 24 * 60 * 60

/**
 * The end of the nth period after an anchor. A month that is too short ends the period on its last
 * day; the one after it is on the anchor's day again.
 *
 * @param anchor seconds since 1970, UTC.
 * @see https://docs.stripe.com/billing/subscriptions/billing-cycle
 */
export function periodEnd(anchor: number, { interval, interval_count: count }: Interval, n = 1) {
  if (interval === 'day') return anchor + n * count * DAY
  if (interval === 'week') return anchor + n * count * 7 * DAY
  const months = n * count * (interval === 'year' ? 12 : 1)
  const start = new Date(anchor * 1000)
  const lastDay = Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + months + 1, 0)
  const day = Math.min(start.getUTCDate(), new Date(lastDay).getUTCDate())
  const midnight = new Date(lastDay).setUTCDate(day)
  return midnight / 1000 + (anchor % DAY)
}

/** The first end of a period that is later than `after`. */
export function nextPeriodEnd(anchor: number, interval: Interval, after: number): number {
  let n = 1
  while (periodEnd(anchor, interval, n) <= after) n += 1
  return periodEnd(anchor, interval, n)
}

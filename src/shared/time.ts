import { z } from 'zod'

/** The source of time for use cases, so that tests can set it. Rows use the database's `now()`. */
export type Clock = { now(): Date }

export const systemClock: Clock = { now: () => new Date() }

/** A time in requests and responses: RFC 3339. Responses use UTC. */
export const timestamp = z.iso.datetime({ offset: true })

/** A time in a request, limited to years that a response can show. */
export const moment = timestamp.max(64).refine((text) => {
  const year = new Date(text).getUTCFullYear()
  // The rule above already refuses a text that is not a time.
  return Number.isNaN(year) || (year >= 1970 && year <= 9999)
}, 'must be a time between the years 1970 and 9999')

/** A time in a request, as a Date. */
export const timestampInput = moment.transform((text) => new Date(text))

/** A time column as it appears in a response. */
export function toTimestamp(date: Date): string
export function toTimestamp(date: Date | null): string | null
export function toTimestamp(date: Date | null): string | null {
  return date === null ? null : date.toISOString()
}

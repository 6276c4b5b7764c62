import { z } from 'zod'

/** Where a use case asks for the time, so that a test can set it. Rows use the database's `now()`. */
export type Clock = { now(): Date }

export const systemClock: Clock = { now: () => new Date() }

/** A moment in answers and requests: RFC 3339, answered in UTC. */
export const timestamp = z.iso.datetime({ offset: true })

/** A moment in a request. The years are those that an answer can show again. */
export const moment = timestamp.refine((text) => {
  const year = new Date(text).getUTCFullYear()
  // What is no moment at all is named by the rule before.
  return Number.isNaN(year) || (year >= 1970 && year <= 9999)
}, 'must be a time between the years 1970 and 9999')

/** A moment in a request, as a Date. */
export const timestampInput = moment.transform((text) => new Date(text))

/** What a time column becomes in an answer. */
export function toTimestamp(date: Date): string
export function toTimestamp(date: Date | null): string | null
export function toTimestamp(date: Date | null): string | null {
  return date === null ? null : date.toISOString()
}

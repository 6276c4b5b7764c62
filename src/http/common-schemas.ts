import { z } from 'zod'
import { CURRENCIES } from '../shared/money.ts'

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

/** A body that may be left out, where every member of it has a default. */
export function optionalBody<T extends z.ZodType>(schema: T) {
  return z.preprocess((body) => body ?? {}, schema)
}

/** An amount: integer minor units of the conference's currency. 99,999,999 is Stripe's limit. */
export const amount = z.int().min(0).max(99_999_999)

export const currencyCode = z
  .string()
  .transform((text) => text.toUpperCase())
  .refine(
    (code) => CURRENCIES.includes(code),
    'must be an ISO 4217 currency that Stripe can charge',
  )

export const slug = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]*$/, 'must be lower-case letters, digits and hyphens')

/** `/v1/conferences/:conference`: the slug or the id. */
export const conferenceParams = z.object({ conference: z.string() })

/** What a time column becomes in an answer. */
export function toTimestamp(date: Date): string
export function toTimestamp(date: Date | null): string | null
export function toTimestamp(date: Date | null): string | null {
  return date === null ? null : date.toISOString()
}

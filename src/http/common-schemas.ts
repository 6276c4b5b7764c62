import { z } from 'zod'
import { CURRENCIES } from '../shared/money.ts'

/** A moment in answers and requests: RFC 3339, answered in UTC. */
export const timestamp = z.iso.datetime({ offset: true })

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

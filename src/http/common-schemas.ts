import { z } from 'zod'
import { CURRENCIES } from '../shared/money.ts'

/** A body that a caller may omit, because every member has a default. */
export function optionalBody<T extends z.ZodType>(schema: T) {
  return z.preprocess((body) => body ?? {}, schema)
}

/** An amount in integer minor units of the conference's currency. Stripe's limit is 99,999,999. */
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
  .regex(
    /^[a-z0-9][a-z0-9-]*$/,
    'must have only lower-case letters, digits and hyphens, and must not begin with a hyphen',
  )

/** `/v1/conferences/:conference`: `conference` is the slug or the id. */
export const conferenceParams = z.object({ conference: z.string() })

/** Query parameters of every list. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(100).default(50).meta({ description: 'Page size.' }),
  // Large enough for a position with an id of 255 characters in any script.
  cursor: z
    .string()
    .max(1_500)
    .optional()
    .meta({ description: '`next_cursor` of the previous page.' }),
}

/** The zod schema of a page of `item`. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({
    data: z.array(item),
    has_more: z.boolean(),
    next_cursor: z.string().nullable(),
  })
}

/** A POST without parameters: no body, or an empty object. */
export const emptyBody = z.strictObject({}).nullish()

import { z } from 'zod'
import { CURRENCIES } from '../shared/money.ts'

/** A body that a caller may omit, because every member has a default. */
export function optionalBody<T extends z.ZodType>(schema: T) {
  return z.preprocess((body) => body ?? {}, schema)
}

/** An amount in integer minor units of the conference's currency. Stripe's limit is 99,999,999. */
export const amount = z.int().min(0).max(99_999_999)

const KNOWN_CURRENCY = 'must be an ISO 4217 currency that Stripe can charge'

export const currencyCode = z
  .string()
  .regex(/^[A-Za-z]{3}$/, KNOWN_CURRENCY)
  .transform((text) => text.toUpperCase())
  .refine((code) => CURRENCIES.includes(code), KNOWN_CURRENCY)
  // The pattern implies it; tools that check limits read only this.
  .meta({ maxLength: 3 })

export const slug = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9-]*$/,
    'must have only lower-case letters, digits and hyphens, and must not begin with a hyphen',
  )

/** An id of this service, such as `bp_V1StGXR8Z5jdHi6BmyT7a`. */
export const id = z.string().max(64)

/** An id of an object at Stripe. @see https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible */
export const stripeId = z.string().min(1).max(255)

/** The id, slug or external id of a sponsor, or the id or slug of its level. */
export const sponsorKey = z.string().min(1).max(200)

/** `true` or `false` in a query. */
export const flag = z
  .stringbool({
    truthy: ['true'],
    falsy: ['false'],
    case: 'sensitive',
    error: 'must be true or false',
  })
  .meta({ type: 'boolean' })

/** `/v1/conferences/:conference`: `conference` is the slug or the id. */
export const conferenceParams = z.object({ conference: z.string().max(64) })

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

import { z } from 'zod'

/**
 * What this service writes beside a caller's own entries. A foreign `conference_id` would keep an
 * object out of the mirror, a foreign `purchase_id` would tie it to a purchase.
 */
const RESERVED_KEYS: readonly string[] = [
  'conference_id',
  'sponsor_id',
  'purchase_id',
  'plan_id',
  'subscription_id',
]

/** Stripe takes 50 entries; ten are left for our own. */
const MAX_ENTRIES = 40

const metadataKey = z
  .string()
  .regex(/^[^[\]]{1,40}$/, 'must be 1 to 40 characters without [ and ]')
  .refine((name) => !RESERVED_KEYS.includes(name), 'is used by this service')

const metadataValue = z.string().min(1).max(500)

const hasFewEntries = (entries: object) => Object.keys(entries).length <= MAX_ENTRIES
const TOO_MANY_ENTRIES = `must have at most ${MAX_ENTRIES} entries`

/** Entries for an object at Stripe. @see https://docs.stripe.com/api/metadata */
export const metadataInput = z
  .record(metadataKey, metadataValue)
  .refine(hasFewEntries, TOO_MANY_ENTRIES)
  .meta({
    description: 'Kept at Stripe with the object. At most 40 entries.',
  })

/** Entries to set; null takes one away. The others stay. */
export const metadataChanges = z
  .record(metadataKey, metadataValue.nullable())
  .refine(hasFewEntries, TOO_MANY_ENTRIES)
  .meta({
    description: 'Entries to set; null takes one away. The others stay.',
  })

export type MetadataChanges = { [key: string]: string | null }

/** Stripe takes an entry away for an empty text. */
export function toStripeMetadata(changes: MetadataChanges): { [key: string]: string } {
  return Object.fromEntries(Object.entries(changes).map(([name, text]) => [name, text ?? '']))
}

/** A caller's own entries out of all that Stripe has. */
export function callerMetadata(metadata: { [key: string]: string }): { [key: string]: string } {
  return Object.fromEntries(
    Object.entries(metadata).filter(([name]) => !RESERVED_KEYS.includes(name)),
  )
}

import { z } from 'zod'

/**
 * Keys that this service writes itself. A wrong `conference_id` would keep an object out of the
 * mirror, and a wrong `purchase_id` or `charge_id` would assign it to a purchase or a charge.
 */
const RESERVED_KEYS: readonly string[] = [
  'conference_id',
  'sponsor_id',
  'purchase_id',
  'charge_id',
  'attempt',
  'plan_id',
  'subscription_id',
]

/** Stripe allows 50 entries; ten are reserved for this service. */
const MAX_ENTRIES = 40

const metadataKey = z
  .string()
  .max(40)
  .regex(/^[^[\]]{1,40}$/, 'must be 1 to 40 characters without [ and ]')
  .refine((name) => !RESERVED_KEYS.includes(name), 'is reserved for this service')

const metadataValue = z.string().min(1).max(500)

const hasFewEntries = (entries: object) => Object.keys(entries).length <= MAX_ENTRIES
const TOO_MANY_ENTRIES = `must have at most ${MAX_ENTRIES} entries`

/** Entries for an object at Stripe. @see https://docs.stripe.com/api/metadata */
export const metadataInput = z
  .record(metadataKey, metadataValue)
  .refine(hasFewEntries, TOO_MANY_ENTRIES)
  .meta({
    id: 'Metadata',
    maxProperties: MAX_ENTRIES,
    description: 'Stored with the object at Stripe. At most 40 entries.',
  })

/** Entries to set; null removes an entry. Other entries stay unchanged. */
export const metadataChanges = z
  .record(metadataKey, metadataValue.nullable())
  .refine(hasFewEntries, TOO_MANY_ENTRIES)
  .meta({
    id: 'MetadataChange',
    maxProperties: MAX_ENTRIES,
    description: 'Entries to set; null removes an entry. Other entries stay unchanged.',
  })

export type MetadataChanges = { [key: string]: string | null }

/** Stripe removes an entry when its value is an empty string. */
export function toStripeMetadata(changes: MetadataChanges): { [key: string]: string } {
  return Object.fromEntries(Object.entries(changes).map(([name, text]) => [name, text ?? '']))
}

/** The caller's entries, without those of this service. */
export function callerMetadata(metadata: { [key: string]: string }): { [key: string]: string } {
  return Object.fromEntries(
    Object.entries(metadata).filter(([name]) => !RESERVED_KEYS.includes(name)),
  )
}

import { z } from 'zod'
import { toStripeAmount } from '../../../shared/money.ts'

/** What this service itself writes into the metadata of what it makes. */
const RESERVED = ['conference_id', 'discount_change', 'voucher_batch', 'voucher']

// Stripe takes 50; the rest is ours. https://docs.stripe.com/api/metadata
const MOST_KEYS = 50 - RESERVED.length

const metadataKey = z
  .string()
  .min(1)
  .max(40)
  .regex(/^[^[\]]+$/, 'must not contain square brackets')
  .refine((key) => !RESERVED.includes(key), 'is a key that this service sets itself')

const metadataValue = z.string().min(1).max(500)

const withFewKeys = (entries: object) => Object.keys(entries).length <= MOST_KEYS
const TOO_MANY = `must have at most ${MOST_KEYS} keys`

/** `metadata` of what is created. */
export const newMetadata = z
  .record(metadataKey, metadataValue)
  .refine(withFewKeys, TOO_MANY)
  .meta({ description: `At most ${MOST_KEYS} keys of 40 characters, values of 500.` })

/** `metadata` of what is changed: keys that are not named stay. */
export const changedMetadata = z
  .record(metadataKey, metadataValue.nullable())
  .refine(withFewKeys, TOO_MANY)
  .meta({ description: 'Keys that are not named stay; null removes one.' })

/** Stripe removes a key whose value is empty. */
export function toStripeMetadata(
  metadata: Record<string, string | null> | undefined,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata ?? {}).map(([key, value]) => [key, value ?? '']),
  )
}

// https://docs.stripe.com/api/coupons/create: "cannot be set to more than 5 years in the future"
const FIVE_YEARS_MS = 5 * 365 * 24 * 3_600_000

/** Why nothing at Stripe can end at this time, or null. Stripe counts in seconds. */
export function endProblem(end: Date, now: Date): string | null {
  if (Math.floor(end.getTime() / 1000) * 1000 <= now.getTime()) return 'must be in the future'
  return end.getTime() - now.getTime() > FIVE_YEARS_MS
    ? "must be within five years, which is Stripe's limit"
    : null
}

export const toSeconds = (moment: Date) => Math.floor(moment.getTime() / 1000)

/** An amount that is taken off, or at least to be paid: minor units of its currency. */
export const discountAmount = z.int().min(1).max(99_999_999)

/** Our minor units of an upper-case currency, as Stripe takes them. */
export function toStripeMoney(amount: number, currency: string) {
  return { amount: toStripeAmount(amount, currency), currency: currency.toLowerCase() }
}

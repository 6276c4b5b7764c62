import { customAlphabet } from 'nanoid'

const body = customAlphabet('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz')

/**
 * An id that looks like Stripe's: `fakeId('ch_3')` is `ch_3` and 23 letters and digits.
 * Readers must treat ids as opaque, so only the prefix means anything.
 */
export function fakeId(prefix: string, length = 23): string {
  return `${prefix}${body(length)}`
}

/**
 * The id of a field that Stripe may expand. Stored rows hold ids only, but the SDK's types allow
 * the object too.
 */
export function idOf(reference: string | { id: string } | null | undefined): string | null {
  if (reference === null || reference === undefined) return null
  return typeof reference === 'string' ? reference : reference.id
}

import { customAlphabet } from 'nanoid'

const body = customAlphabet('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz')

/**
 * An id that looks like Stripe's: `fakeId('ch_3')` is `ch_3` and 23 letters and digits. Clients
 * must treat ids as opaque; only the prefix has a meaning.
 */
export function fakeId(prefix: string, length = 23): string {
  return `${prefix}${body(length)}`
}

/**
 * The id in a field that Stripe can expand. Stored rows contain only ids, but the SDK's types also
 * allow the object.
 */
export function idOf(reference: string | { id: string } | null | undefined): string | null {
  if (reference === null || reference === undefined) return null
  return typeof reference === 'string' ? reference : reference.id
}

/**
 * The id of a field that Stripe may expand. Stored rows hold ids only, but the SDK's types allow
 * the object too.
 */
export function idOf(reference: string | { id: string } | null | undefined): string | null {
  if (reference === null || reference === undefined) return null
  return typeof reference === 'string' ? reference : reference.id
}

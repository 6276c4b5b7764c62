/**
 * What every object of Stripe's has in common. Everything but the id may be missing: a deleted
 * object is `{ id, object, deleted: true }`, and older API versions had fewer fields.
 */
export type StripeObject = {
  id: string
  object?: string
  /** Seconds since 1970, UTC. */
  created?: number
  livemode?: boolean
  /** Declared `void` by the SDK on the types of living objects. */
  deleted?: boolean | void
  metadata?: { [key: string]: string } | null
}

/** The id of a field that holds an id or, when it was expanded, the object itself. */
export function idOf(reference: string | { id?: string } | null | undefined): string | null {
  const id = typeof reference === 'string' ? reference : reference?.id
  return typeof id === 'string' ? id : null
}

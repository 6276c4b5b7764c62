import { resourceOfObject } from '../mirror/resource-registry.ts'
import { isForeignId, type Reference } from '../mirror/stripe-resource.ts'
import { type EventHints, isHandledType } from './event-hints.ts'

/**
 * The two queues in the table of events. `purchase`: a purchase may depend on the event. `mirror`:
 * only the mirror does, and its fetches wait for the account's rate limit.
 */
export type Lane = 'purchase' | 'mirror'

/** An event that is not stored yet, with its lane and its mirror object. */
export type IncomingEvent = {
  conferenceId: string
  id: string
  type: string
  livemode: boolean
  apiVersion: string | null
  body: Buffer
  objectId: string | null
  paymentIntentId: string | null
  purchaseId: string | null
  lane: Lane
  /** The mirror object that the event is about. */
  mirrorResource: string | null
  mirrorId: string | null
  source: 'webhook' | 'missed'
  status: 'pending' | 'ignored'
  createdAtStripe: Date
}

/** The fields of a conference that decide whether an event can concern it. */
export type EventOwner = { id: string; livemode: boolean | null; stripeAccount: string | null }

/**
 * The row for an event. The row is `ignored` when the event cannot concern the conference, or when
 * purchases, the mirror and the hooks have no use for its type.
 *
 * @param isWanted - true when a hook wants events of this type.
 */
export function classifyEvent(
  hints: EventHints,
  owner: EventOwner,
  body: Buffer,
  source: IncomingEvent['source'],
  isWanted: (type: string) => boolean = () => false,
): IncomingEvent {
  const isOurs = ignoreReason(hints, owner) === null
  const isHandled = isOurs && isHandledType(hints.type)
  const mirrored = isOurs ? mirrorTarget(hints) : null
  const isWork = isHandled || mirrored !== null || (isOurs && isWanted(hints.type))
  return {
    conferenceId: owner.id,
    id: hints.id,
    type: hints.type,
    livemode: hints.livemode,
    apiVersion: hints.apiVersion,
    body,
    objectId: hints.objectId,
    paymentIntentId: hints.paymentIntent,
    // The purchase of another conference must not be visible here, not even its id.
    purchaseId: isOurs ? hints.purchaseId : null,
    lane: isHandled || mirrored === null ? 'purchase' : 'mirror',
    mirrorResource: mirrored?.resource ?? null,
    mirrorId: mirrored?.id ?? null,
    source,
    status: isWork ? 'pending' : 'ignored',
    createdAtStripe: hints.created,
  }
}

/**
 * Why an event cannot concern the conference, or null. Two conferences may share a Stripe account;
 * then each one receives the events of the other.
 */
function ignoreReason(hints: EventHints, owner: EventOwner): string | null {
  if (!hints.hasObject) return 'thin event'
  if (owner.livemode !== null && hints.livemode !== owner.livemode) return 'other mode'
  if (hints.conferenceId !== null && hints.conferenceId !== owner.id) return 'other conference'
  const hasBothAccounts = hints.account !== null && owner.stripeAccount !== null
  if (hasBothAccounts && hints.account !== owner.stripeAccount) return 'other account'
  return null
}

type MirrorHints = Pick<EventHints, 'kind' | 'objectId' | 'customer' | 'subscription' | 'invoice'>

/**
 * The mirror object that an event is about, or null. It follows from the kind of object in the
 * event, not from the event's type: Stripe adds types, and one kind of object has many types.
 */
export function mirrorTarget(hints: MirrorHints): Reference | null {
  const { kind, objectId, customer, subscription, invoice } = hints
  if (kind === null) return null
  // Of the legacy sources, only cards are payment methods. The API cannot read a bank account.
  if (kind === 'card' || kind === 'source') {
    return objectId?.startsWith('card_') ? reference('payment_method', objectId) : null
  }
  // These are parts of another object: Stripe returns them inside of it.
  if (kind === 'discount') {
    return reference('subscription', subscription) ?? reference('customer', customer)
  }
  if (kind === 'invoice_payment') return reference('invoice', invoice)
  if (kind.startsWith('subscription_')) return reference('subscription', subscription)
  return reference(kind, objectId)
}

function reference(kind: string, id: string | null): Reference | null {
  const resource = resourceOfObject(kind)
  if (resource === undefined || id === null || isForeignId(resource, id)) return null
  return { resource: resource.name, id }
}

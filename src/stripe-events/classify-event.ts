import { resourceOfObject } from '../mirror/resource-registry.ts'
import { isForeignId, type Reference } from '../mirror/stripe-resource.ts'
import { type EventHints, isHandledType } from './event-hints.ts'

/** A row to be stored. */
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
  /** The object of the mirror that it is about. */
  mirrorResource: string | null
  mirrorId: string | null
  source: 'webhook' | 'missed'
  status: 'pending' | 'ignored'
  createdAtStripe: Date
}

/** What of a conference decides whether an event can be about it. */
export type EventOwner = { id: string; livemode: boolean | null; stripeAccount: string | null }

/**
 * Why an event cannot concern the conference, or null. Two conferences may share a Stripe account;
 * then each receives the other's events.
 */
function ignoreReason(hints: EventHints, owner: EventOwner): string | null {
  if (!hints.hasObject) return 'thin event'
  if (owner.livemode !== null && hints.livemode !== owner.livemode) return 'other mode'
  if (hints.conferenceId !== null && hints.conferenceId !== owner.id) return 'other conference'
  const isForeign = hints.account !== null && owner.stripeAccount !== null
  if (isForeign && hints.account !== owner.stripeAccount) return 'other account'
  return null
}

/** Whether somebody beside purchases and the mirror wants events of a type. */
export type WantsType = (type: string) => boolean

/**
 * The row for an event. One that cannot concern the conference is kept, but `ignored` at once, and
 * so is one that neither purchases nor the mirror nor a hook have a use for.
 */
export function classifyEvent(
  hints: EventHints,
  owner: EventOwner,
  body: Buffer,
  source: IncomingEvent['source'],
  isWanted: WantsType = () => false,
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
    // Another conference's purchase is none of this one's business, not even its id.
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
 * The two queues in the table of events. `purchase`: a purchase may wait for it. `mirror`: only the
 * mirror does, and its readings wait for their turn in the account's request budget.
 */
export type Lane = 'purchase' | 'mirror'

type Hints = Pick<EventHints, 'kind' | 'objectId' | 'customer' | 'subscription' | 'invoice'>

function target(kind: string, id: string | null): Reference | null {
  const resource = resourceOfObject(kind)
  if (resource === undefined || id === null || isForeignId(resource, id)) return null
  return { resource: resource.name, id }
}

/**
 * The object of the mirror that an event is about, or null. It follows from the kind of object that
 * the event carries and not from the event's type: Stripe adds types, and one kind has many.
 */
export function mirrorTarget(hints: Hints): Reference | null {
  const { kind, objectId, customer, subscription, invoice } = hints
  if (kind === null) return null
  // Of the old sources only cards are among the payment methods; a bank account is not readable.
  if (kind === 'card' || kind === 'source') {
    return objectId?.startsWith('card_') ? target('payment_method', objectId) : null
  }
  // Parts of another object: Stripe shows them inside of it.
  if (kind === 'discount')
    return target('subscription', subscription) ?? target('customer', customer)
  if (kind === 'invoice_payment') return target('invoice', invoice)
  if (kind.startsWith('subscription_')) return target('subscription', subscription)
  return target(kind, objectId)
}

import { isHandledType } from './handled-types.ts'
import type { Lane } from './lane.ts'
import { mirrorTarget } from './mirror-target.ts'
import type { EventHints } from './parse-event.ts'

/** A row to be stored. */
export type InboxEvent = {
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
export function toInboxEvent(
  hints: EventHints,
  owner: EventOwner,
  body: Buffer,
  source: InboxEvent['source'],
  isWanted: WantsType = () => false,
): InboxEvent {
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

import { z } from 'zod'
import { resourceOfObject } from '../mirror/resource-registry.ts'
import { isForeignId, type Reference } from '../mirror/stripe-resource.ts'

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
  const reason = ignoreReason(hints, owner)
  const isOurs = reason === null
  const isHandled = isOurs && isHandledType(hints.type)
  // The mirror must drop an object that another conference takes over.
  const mirrored =
    isOurs || (reason === 'other conference' && wasOurs(hints, owner)) ? mirrorTarget(hints) : null
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

/** Whether the object belonged to this conference, or to no conference, before the event's change. */
function wasOurs({ previousConference }: EventHints, owner: EventOwner): boolean {
  return previousConference === null || previousConference === owner.id
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

/**
 * The fields that we read from an event's body. They are hints: they decide which objects to fetch
 * from Stripe, and no field is applied to a row.
 */
export type EventHints = {
  id: string
  type: string
  livemode: boolean
  apiVersion: string | null
  created: Date
  /** `acct_…` for an event of a connected account. */
  account: string | null
  /** False for thin events of v2 destinations, which carry no object. */
  hasObject: boolean
  /** The object's `object` field, such as `payment_intent`. */
  kind: string | null
  objectId: string | null
  customer: string | null
  subscription: string | null
  invoice: string | null
  paymentIntent: string | null
  charge: string | null
  purchaseId: string | null
  conferenceId: string | null
  /** The conference that the object named before this event changed it. Undefined: not changed. */
  previousConference: string | null | undefined
  /** The id of one of our charges (`charge_id` in the metadata), not a Stripe id. */
  ownCharge: string | null
}

// The pattern also rejects NUL, which Postgres cannot store in a text column.
const name = z.string().regex(/^[\x21-\x7e]{1,255}$/)
const hint = name.nullish().catch(null)
const idOrObject = z
  .union([name, z.object({ id: name }).transform(({ id }) => id)])
  .nullish()
  .catch(null)

// Users may choose the id of a coupon, so it may contain spaces and letters of any alphabet.
const chosenId = z
  .string()
  .regex(/^[^\p{C}]{1,255}$/u)
  .nullish()
  .catch(null)

const dataObject = z.object({
  id: chosenId,
  object: hint,
  customer: idOrObject,
  subscription: idOrObject,
  invoice: idOrObject,
  payment_intent: idOrObject,
  charge: idOrObject,
  client_reference_id: hint,
  metadata: z
    .object({ purchase_id: hint, conference_id: hint, charge_id: hint })
    .nullish()
    .catch(null),
})

// A key that is absent has not changed, and a null was absent before.
const previous = z
  .object({ metadata: z.object({ conference_id: name.nullish() }) })
  .optional()
  .catch(undefined)

const moment = z.union([
  z
    .int()
    .min(0)
    .max(32_503_680_000) // the year 3000
    .transform((seconds) => new Date(seconds * 1000)),
  z.iso.datetime({ offset: true }).transform((text) => new Date(text)), // v2 events
])

// An endpoint keeps the API version that it was created with, so events of several versions arrive.
// No field here depends on the version. https://docs.stripe.com/webhooks/versioning
const event = z.object({
  id: name,
  type: name,
  object: z.union([z.literal('event'), z.string().startsWith('v2.')]).optional(),
  livemode: z.boolean().catch(false),
  api_version: hint,
  created: moment.catch(() => new Date()),
  account: hint,
  data: z.object({ object: dataObject, previous_attributes: previous }).optional().catch(undefined),
})

type DataObject = z.output<typeof dataObject>

function paymentIntentOf(object: DataObject): string | null {
  if (object.object === 'payment_intent') return object.id ?? null
  return object.payment_intent ?? null
}

function hintsOf(object: DataObject) {
  return {
    kind: object.object ?? null,
    objectId: object.id ?? null,
    customer: object.customer ?? null,
    subscription: object.subscription ?? null,
    invoice: object.invoice ?? null,
    paymentIntent: paymentIntentOf(object),
    charge: object.object === 'charge' ? (object.id ?? null) : (object.charge ?? null),
    purchaseId: object.metadata?.purchase_id ?? object.client_reference_id ?? null,
    conferenceId: object.metadata?.conference_id ?? null,
    ownCharge: object.metadata?.charge_id ?? null,
  }
}

// For thin events of v2 destinations.
const NO_OBJECT = dataObject.parse({})

/** The hints of parsed JSON, or null when it is not an event. */
export function hintsOfEvent(json: unknown): EventHints | null {
  const parsed = event.safeParse(json)
  if (!parsed.success) return null
  const { id, type, livemode, created, data, ...rest } = parsed.data
  return {
    id,
    type,
    livemode,
    created,
    apiVersion: rest.api_version ?? null,
    account: rest.account ?? null,
    hasObject: data !== undefined,
    previousConference: data?.previous_attributes?.metadata.conference_id,
    ...hintsOf(data?.object ?? NO_OBJECT),
  }
}

/** The hints of a raw body, or null. Never throws: even a signed body may hold anything. */
export function parseEvent(body: Buffer): EventHints | null {
  try {
    return hintsOfEvent(JSON.parse(body.toString('utf8')))
  } catch {
    return null
  }
}

/**
 * Event types after which we fetch a purchase, a charge or a customer's cards. All other types concern
 * only the mirror and the hooks.
 * @see https://docs.stripe.com/api/events/types
 */
export const HANDLED_TYPES: readonly string[] = [
  'checkout.session.completed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'checkout.session.expired',
  'payment_intent.succeeded',
  'payment_intent.payment_failed',
  'payment_intent.partially_funded',
  'charge.refunded',
  'refund.created',
  'refund.updated',
  'refund.failed',
  'charge.dispute.created',
  'charge.dispute.updated',
  'charge.dispute.closed',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.funds_reinstated',
  'radar.early_fraud_warning.created',
  'payment_method.attached',
]

const handled: ReadonlySet<string> = new Set(HANDLED_TYPES)

export function isHandledType(type: string): boolean {
  return handled.has(type)
}

/** Only these events make us list Radar's warnings, which costs one more request per payment. */
export function isFraudWarningType(type: string): boolean {
  return type === 'radar.early_fraud_warning.created'
}

export function isSessionType(type: string): boolean {
  return type.startsWith('checkout.session.')
}

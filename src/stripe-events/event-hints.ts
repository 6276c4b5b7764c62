import { z } from 'zod'

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
  /** The id of one of our charges (`charge_id` in the metadata), not a Stripe id. */
  ownCharge: string | null
}

// The pattern also rejects NUL, which Postgres cannot store in a text column.
const name = z.string().regex(/^[\x21-\x7e]{1,255}$/)
const hint = name.nullish().catch(null)
const reference = z
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
  customer: reference,
  subscription: reference,
  invoice: reference,
  payment_intent: reference,
  charge: reference,
  client_reference_id: hint,
  metadata: z
    .object({ purchase_id: hint, conference_id: hint, charge_id: hint })
    .nullish()
    .catch(null),
})

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
  data: z.object({ object: dataObject }).optional().catch(undefined),
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

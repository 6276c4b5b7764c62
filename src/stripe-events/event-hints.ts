import { z } from 'zod'

/**
 * What an event's body says of itself. It is a hint and nothing more: it decides where to look,
 * never what is true.
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
  /** What the object says it is, such as `payment_intent`. */
  kind: string | null
  objectId: string | null
  customer: string | null
  subscription: string | null
  invoice: string | null
  paymentIntent: string | null
  charge: string | null
  purchaseId: string | null
  conferenceId: string | null
  /** A charge of ours, not of Stripe's. */
  ownCharge: string | null
  attempt: number | null
}

// Also keeps NUL, which Postgres cannot store in a text, out of the columns.
const name = z.string().regex(/^[\x21-\x7e]{1,255}$/)
const hint = name.nullish().catch(null)
const reference = z
  .union([name, z.object({ id: name }).transform(({ id }) => id)])
  .nullish()
  .catch(null)

// The ids of coupons may be chosen, so they may have spaces and letters of any alphabet.
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
    .object({ purchase_id: hint, conference_id: hint, charge_id: hint, attempt: hint })
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

// No field of ours depends on an API version: an endpoint keeps the version it was made with, so
// events of several arrive. https://docs.stripe.com/webhooks/versioning
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

function attemptOf(object: DataObject): number | null {
  const attempt = Number(object.metadata?.attempt ?? Number.NaN)
  return Number.isInteger(attempt) && attempt > 0 ? attempt : null
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
    attempt: attemptOf(object),
  }
}

const NO_HINTS = {
  kind: null,
  objectId: null,
  customer: null,
  subscription: null,
  invoice: null,
  paymentIntent: null,
  charge: null,
  purchaseId: null,
  conferenceId: null,
  ownCharge: null,
  attempt: null,
}

/** The hints of an event that is already parsed as JSON, or null when it is not an event. */
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
    ...(data === undefined ? NO_HINTS : hintsOf(data.object)),
  }
}

/** The same from the raw body. Never throws: a signed body may be anything. */
export function parseEvent(body: Buffer): EventHints | null {
  try {
    return hintsOfEvent(JSON.parse(body.toString('utf8')))
  } catch {
    return null
  }
}

/**
 * Events that tell us to look at a purchase, a charge or a customer's cards. Every other type concerns
 * the mirror at most.
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

/** Only then are Radar's warnings read: it is one more list for each payment. */
export function isFraudWarningType(type: string): boolean {
  return type === 'radar.early_fraud_warning.created'
}

export function isSessionType(type: string): boolean {
  return type.startsWith('checkout.session.')
}

import type { PurchaseRef } from '../../purchases/bulk-purchase.ts'
import type { FactsQuery } from '../../purchases/payment-gateway.ts'
import { AppError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { StripeConnection } from '../client.ts'
import { readFacts } from '../read-facts.ts'
import { orNull } from '../stripe-errors.ts'
import { resourceOfObject } from '../sync/all-resources.ts'
import { defaultsOf, type MirrorRow, rowOf } from '../sync/mirror-row.ts'
import type { StripeObject } from '../sync/stripe-object.ts'

/** Objects as the mirror would have them, by resource, without the whole object. */
export type LiveObjects = { [resource: string]: Omit<MirrorRow, 'data'>[] }

export type LiveReader = StripeConnection & { logger: Logger }

/** What is known of a purchase, to be read. */
export type LiveSubject = {
  ref: PurchaseRef
  sessions: FactsQuery['sessions']
  paymentIntents: string[]
  /** Payments that name the purchase in the mirror and are not known here. */
  hints: string[]
}

/**
 * Reads a purchase's objects from Stripe as a reconcile does, and nothing is written. What Stripe
 * does not have is simply not among them.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
export async function readLive(reader: LiveReader, subject: LiveSubject): Promise<StripeObject[]> {
  try {
    return await read(reader, subject)
  } catch (error) {
    if (!isMissingObject(error)) throw error
    return read(reader, await withoutMissing(reader, subject))
  }
}

const isMissingObject = (error: unknown) =>
  error instanceof AppError && error.extra['stripe_code'] === 'resource_missing'

async function read(reader: LiveReader, subject: LiveSubject): Promise<StripeObject[]> {
  const seen = new Map<string, StripeObject>()
  const { ref, sessions, paymentIntents, hints } = subject
  await readFacts({
    ...reader,
    query: {
      ref,
      sessions,
      paymentIntents: paymentIntents.map((paymentIntent) => ({ paymentIntent, attempt: null })),
      hintedPaymentIntents: hints,
      warnings: false,
    },
    mirror: {
      now: () => 0,
      saw(objects) {
        for (const object of objects) seen.set(object.id, object)
      },
      settled: async () => {},
    },
  })
  return [...seen.values()]
}

async function withoutMissing({ stripe }: LiveReader, subject: LiveSubject): Promise<LiveSubject> {
  const sessions: LiveSubject['sessions'] = []
  for (const session of subject.sessions) {
    const found = await orNull(() => stripe.checkout.sessions.retrieve(session.sessionId))
    if (found !== null) sessions.push(session)
  }
  const paymentIntents: string[] = []
  for (const id of subject.paymentIntents) {
    const found = await orNull(() => stripe.paymentIntents.retrieve(id))
    if (found !== null) paymentIntents.push(id)
  }
  return { ...subject, sessions, paymentIntents }
}

/** Objects as the relations of stripe-side.ts take them. */
export function toLiveObjects(objects: readonly StripeObject[]): LiveObjects {
  const live: LiveObjects = {}
  for (const object of objects) {
    const resource = resourceOfObject(object.object ?? '')
    if (resource === undefined) continue
    const { data: _data, ...row } = rowOf(resource, object, defaultsOf(resource, object))
    live[resource.name] = [...(live[resource.name] ?? []), row]
  }
  return live
}

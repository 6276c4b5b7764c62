import type { Tx } from '../db/connect.ts'
import { PREPARED } from '../db/pipeline.ts'
import { addJob } from '../jobs/job-queue.ts'
import { newId } from '../shared/ids.ts'

/**
 * Publishes an event to the conference's webhook endpoints, in the transaction of the change itself. It
 * inserts a delivery, and a job that sends it, for each endpoint that subscribes to the type. The id of
 * the delivery is its `webhook-id`, the same in every attempt.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export async function publishEvent(trx: Tx, event: OutboundEvent): Promise<void> {
  const { conferenceId, type, data } = event
  for (const { id: endpointId, event_types: types, now } of await endpointsOf(trx, conferenceId)) {
    if (types !== null && !types.includes(type)) continue
    const deliveryId = newId('webhookDelivery')
    await trx('webhook_deliveries').insert({
      conference_id: conferenceId,
      id: deliveryId,
      endpoint_id: endpointId,
      type,
      body: JSON.stringify({ type, timestamp: now.toISOString(), data }),
      next_attempt_at: now,
    })
    await addDeliveryJob(trx, { conferenceId, endpointId, deliveryId })
  }
}

type Endpoint = { id: string; event_types: string[] | null; now: Date }

/** By transaction and conference: most transactions that publish an event publish several. */
const lockedEndpoints = new WeakMap<Tx, Map<string, Promise<Endpoint[]>>>()

function endpointsOf(trx: Tx, conferenceId: string): Promise<Endpoint[]> {
  const ofTransaction = lockedEndpoints.get(trx) ?? new Map<string, Promise<Endpoint[]>>()
  lockedEndpoints.set(trx, ofTransaction)
  const endpoints = ofTransaction.get(conferenceId) ?? lockEndpoints(trx, conferenceId)
  ofTransaction.set(conferenceId, endpoints)
  return endpoints
}

/** Locked, so that their deletion waits: no delivery may be without its endpoint. */
const lockEndpoints = async (trx: Tx, conferenceId: string): Promise<Endpoint[]> =>
  trx('webhook_endpoints')
    .where({ conference_id: conferenceId, disabled_at: null })
    .orderBy('id')
    .forKeyShare()
    .options(PREPARED)
    .select<Endpoint[]>('id', 'event_types', trx.raw('now() as now'))

export type DeliveryRef = { conferenceId: string; endpointId: string; deliveryId: string }

/** @param runAt absent: immediately. */
export function addDeliveryJob(trx: Tx, ref: DeliveryRef, runAt?: Date): Promise<void> {
  const payload = {
    conference_id: ref.conferenceId,
    endpoint_id: ref.endpointId,
    delivery_id: ref.deliveryId,
  }
  return addJob(trx, 'deliver_webhook', payload, runAt === undefined ? {} : { runAt })
}

/** The types that receivers can subscribe to. Do not rename a type or remove members of its `data`. */
export const OUTBOUND_EVENT_TYPES = [
  'purchase.paid',
  'purchase.failed',
  'purchase.partially_refunded',
  'purchase.refunded',
  'purchase.refund_failed',
  'purchase.revoked',
  'purchase.reinstated',
  'purchase.disputed',
  'purchase.dispute_closed',
  'vouchers.issued',
  'vouchers.deactivated',
  'vouchers.activated',
  'charge.succeeded',
  'charge.declined',
  'charge.refunded',
] as const

export type OutboundEventType = (typeof OUTBOUND_EVENT_TYPES)[number]

/**
 * An event for receivers. `data` is small and refers to objects by their ids. It contains no secret: no
 * voucher code and no person's address. A receiver reads the rest through the API.
 */
export type OutboundEvent = {
  conferenceId: string
  type: OutboundEventType
  data: Readonly<Record<string, string | number | boolean | null>>
}

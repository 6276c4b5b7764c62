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
  const endpoints = await trx('webhook_endpoints')
    .where({ conference_id: conferenceId, disabled_at: null })
    .whereRaw('(event_types is null or ? = any(event_types))', [type])
    .orderBy('id')
    // A deletion of the endpoint waits, so that no delivery is without its endpoint.
    .forKeyShare()
    .options(PREPARED)
    .select<{ id: string; now: Date }[]>('id', trx.raw('now() as now'))
  for (const { id: endpointId, now } of endpoints) {
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

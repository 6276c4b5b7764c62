import type { Tx } from '../../db/connect.ts'
import { addJob } from '../../jobs/add-job.ts'
import { newId } from '../../shared/ids.ts'
import type { OutgoingEvent } from './event-types.ts'

/**
 * Tells the conference's receivers of something, in the transaction that makes it true: one delivery
 * for each endpoint that wants the type, each with a job that sends it. A delivery's id is its
 * `webhook-id`, which stays the same in every try.
 *
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export async function announceEvent(trx: Tx, event: OutgoingEvent): Promise<void> {
  const { conferenceId, type, data } = event
  const endpoints = await trx('webhook_endpoints')
    .where({ conference_id: conferenceId, disabled_at: null })
    .whereRaw('(event_types is null or ? = any(event_types))', [type])
    .orderBy('id')
    // A deletion waits, so that no delivery is left without its endpoint.
    .forKeyShare()
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

/** @param runAt absent: at once. */
export function addDeliveryJob(trx: Tx, ref: DeliveryRef, runAt?: Date): Promise<void> {
  const payload = {
    conference_id: ref.conferenceId,
    endpoint_id: ref.endpointId,
    delivery_id: ref.deliveryId,
  }
  return addJob(trx, 'deliver_webhook', payload, runAt === undefined ? {} : { runAt })
}

import type { Db, Tx } from '../db/connect.ts'
import { deleteInBatches } from '../db/delete-in-batches.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { addDeliveryJob, type OutboundEventType } from './outbound-events.ts'
import { getEndpoint } from './webhook-endpoints.ts'

/** The same values as in the check constraint of the table. */
export const DELIVERY_STATES = ['pending', 'delivered', 'failed'] as const

export type DeliveryState = (typeof DELIVERY_STATES)[number]

export type DeliveryRow = {
  id: string
  endpoint_id: string
  type: OutboundEventType
  body: string
  state: DeliveryState
  attempts: number
  next_attempt_at: Date | null
  last_attempt_at: Date | null
  last_status: number | null
  last_error: string | null
  created_at: Date
  finished_at: Date | null
}

const COLUMNS = [
  'id',
  'endpoint_id',
  'type',
  'body',
  'state',
  'attempts',
  'next_attempt_at',
  'last_attempt_at',
  'last_status',
  'last_error',
  'created_at',
  'finished_at',
] as const satisfies readonly (keyof DeliveryRow)[]

export type DeliveryFilter = {
  state?: DeliveryState | undefined
  type?: OutboundEventType | undefined
}

/** The deliveries to an endpoint, newest first. @throws AppError `not_found` */
export async function listDeliveries(
  trx: Tx,
  conferenceId: string,
  endpointId: string,
  filter: DeliveryFilter,
  page: PageQuery,
): Promise<Page<DeliveryRow>> {
  await getEndpoint(trx, conferenceId, endpointId)
  const query = trx('webhook_deliveries').where({
    conference_id: conferenceId,
    endpoint_id: endpointId,
    ...(filter.state === undefined ? {} : { state: filter.state }),
    ...(filter.type === undefined ? {} : { type: filter.type }),
  })
  return fetchPage(query.select([...COLUMNS]), page)
}

/**
 * Sends a delivery again with the same `webhook-id` and a new set of attempts.
 *
 * @throws AppError `not_found`; `wrong_state` if it is still pending, or its endpoint is disabled.
 */
export async function replayDelivery(
  trx: Tx,
  conferenceId: string,
  endpointId: string,
  deliveryId: string,
): Promise<DeliveryRow> {
  const endpoint = await getEndpoint(trx, conferenceId, endpointId)
  const own = { conference_id: conferenceId, endpoint_id: endpointId, id: deliveryId }
  const known = await trx('webhook_deliveries')
    .where(own)
    .forUpdate()
    .first<{ state: DeliveryState } | undefined>('state')
  if (known === undefined) throw notFound('webhook delivery')
  if (known.state === 'pending') {
    throw new AppError('wrong_state', 'The delivery is pending and needs no replay.', {
      extra: { state: 'pending', allowed_actions: [] },
    })
  }
  if (endpoint.disabledAt !== null) {
    throw new AppError('wrong_state', 'The webhook endpoint is disabled. Enable it first.', {
      extra: { state: 'disabled', allowed_actions: ['enable'] },
    })
  }
  const [row] = await trx('webhook_deliveries')
    .where(own)
    .update({
      state: 'pending',
      attempts: 0,
      next_attempt_at: trx.fn.now(),
      finished_at: null,
    })
    .returning<DeliveryRow[]>([...COLUMNS])
  if (row === undefined) throw notFound('webhook delivery')
  await addDeliveryJob(trx, { conferenceId, endpointId, deliveryId })
  return row
}

// The description of listWebhookDeliveries promises this.
const KEPT_DAYS = 30

/** Deletes deliveries that finished more than 30 days ago. @returns their number. */
export function deleteOldDeliveries(db: Db): Promise<number> {
  const condition = `finished_at < now() - interval '${KEPT_DAYS} days'`
  return deleteInBatches(db, 'webhook_deliveries', condition)
}

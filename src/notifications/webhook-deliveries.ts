import type { Db, Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { maintainPartitions } from '../db/partitions.ts'
import { hasNoJobSql } from '../jobs/job-queue.ts'
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
    .first<{ state: DeliveryState; isStuck: boolean } | undefined>(
      'state',
      trx.raw(`${hasNoJobSql(DELIVERY_JOB_SQL)} as "isStuck"`),
    )
  if (known === undefined) throw notFound('webhook delivery')
  // A pending delivery whose job was used up will not be sent without a replay.
  if (known.state === 'pending' && !known.isStuck) {
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

const DELIVERY_JOB_SQL = `'deliver_webhook:' || webhook_deliveries.id`

const MAX_RESUMED = 1_000

/**
 * Adds the missing jobs of pending deliveries: each one was used up by workers that died or failed. Of
 * all conferences. Returns their number.
 */
export async function resumeStuckDeliveries(trx: Tx): Promise<number> {
  const stuck = await trx('webhook_deliveries')
    .where({ state: 'pending' })
    .whereRaw(`next_attempt_at < now() - interval '1 minute'`)
    .whereRaw(hasNoJobSql(DELIVERY_JOB_SQL))
    .orderBy('next_attempt_at')
    .limit(MAX_RESUMED)
    .select<{ conference_id: string; endpoint_id: string; id: string }[]>(
      'conference_id',
      'endpoint_id',
      'id',
    )
  for (const { conference_id: conferenceId, endpoint_id: endpointId, id: deliveryId } of stuck) {
    await addDeliveryJob(trx, { conferenceId, endpointId, deliveryId })
  }
  return stuck.length
}

// The description of listWebhookDeliveries promises this.
const KEPT_DAYS = 30

/** The last attempt of a delivery is less than four days after its creation. */
const LAST_ATTEMPT_DAYS = 4

/** A month counts from its first day. */
const MONTH_DAYS = 31

const DELIVERY_PARTITIONS = {
  table: 'webhook_deliveries',
  column: 'created_at',
  // A replay may finish long after the delivery was created.
  kept: `state = 'pending' or finished_at > now() - interval '${KEPT_DAYS} days'`,
} as const

/** Drops deliveries that finished more than 30 days ago, by month. @returns the dropped partitions. */
export function dropOldDeliveries(db: Db): Promise<string[]> {
  return maintainPartitions(db, DELIVERY_PARTITIONS, MONTH_DAYS + LAST_ATTEMPT_DAYS + KEPT_DAYS)
}

import { z } from 'zod'
import { timestamp, toTimestamp } from '../../http/common-schemas.ts'
import { pageOf, pageQuery } from '../../http/pages.ts'
import { DELIVERY_STATES, type DeliveryRow } from './delivery-store.ts'
import { endpointParams, outgoingEventType } from './webhook-endpoint-schemas.ts'

const state = z.enum(DELIVERY_STATES).meta({
  description: 'pending: to be sent, or tried again. failed: waits for a replay.',
})

export const deliveryQuery = z.strictObject({
  state: state.optional(),
  type: outgoingEventType.optional(),
  ...pageQuery,
})

export const deliveryParams = endpointParams.extend({ delivery: z.string() })

const payload = z
  .object({
    type: outgoingEventType,
    timestamp,
    data: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  })
  .meta({ id: 'OutgoingEvent', description: 'The body of a webhook that we send.' })

export const deliverySchema = z
  .object({
    id: z.string().meta({ description: 'The `webhook-id`: the same in every try.' }),
    object: z.literal('webhook_delivery'),
    endpoint: z.string(),
    state,
    attempts: z.int(),
    next_attempt_at: timestamp.nullable(),
    last_attempt_at: timestamp.nullable(),
    last_status: z.int().nullable().meta({ description: 'null: there was no answer.' }),
    last_error: z.string().nullable(),
    payload,
    created_at: timestamp,
    finished_at: timestamp.nullable(),
  })
  .meta({ id: 'WebhookDelivery' })

export const deliveryPage = pageOf(deliverySchema).meta({ id: 'WebhookDeliveryPage' })

export function toDeliveryBody(row: DeliveryRow): z.infer<typeof deliverySchema> {
  return {
    id: row.id,
    object: 'webhook_delivery',
    endpoint: row.endpoint_id,
    state: row.state,
    attempts: row.attempts,
    next_attempt_at: toTimestamp(row.next_attempt_at),
    last_attempt_at: toTimestamp(row.last_attempt_at),
    last_status: row.last_status,
    last_error: row.last_error,
    payload: payload.parse(JSON.parse(row.body)),
    created_at: toTimestamp(row.created_at),
    finished_at: toTimestamp(row.finished_at),
  }
}

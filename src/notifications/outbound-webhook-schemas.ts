import { z } from 'zod'
import { conferenceParams, id, optionalBody, pageOf, pageQuery } from '../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import { OUTBOUND_EVENT_TYPES } from './outbound-events.ts'
import { DELIVERY_STATES, type DeliveryRow } from './webhook-deliveries.ts'
import {
  type EndpointWithSecret,
  MAX_URL_LENGTH,
  urlProblem,
  type WebhookEndpoint,
} from './webhook-endpoints.ts'

const outboundEventType = z.enum(OUTBOUND_EVENT_TYPES).meta({ id: 'OutgoingEventType' })

const eventTypes = z
  .array(outboundEventType)
  .min(1)
  .max(OUTBOUND_EVENT_TYPES.length)
  .nullable()
  .meta({ description: 'null: all types, including those of later releases.' })

export function createEndpointBody(allowLoopback: boolean) {
  const { url, description, event_types } = fields(allowLoopback)
  return z
    .strictObject({
      url,
      description: description.default(null),
      event_types: event_types.default(null),
    })
    .meta({ id: 'CreateWebhookEndpoint' })
}

/** @param allowLoopback see `urlProblem`. */
function fields(allowLoopback: boolean) {
  const url = z.string().superRefine((text, issues) => {
    const problem = urlProblem(text, allowLoopback)
    if (problem !== null) issues.addIssue({ code: 'custom', message: problem })
  })
  return {
    url: url.meta({
      maxLength: MAX_URL_LENGTH,
      description: 'Must be https. Addresses in private networks are never called.',
    }),
    description: z.string().trim().min(1).max(200).nullable(),
    event_types: eventTypes,
  }
}

export function updateEndpointBody(allowLoopback: boolean) {
  const enabled = z.boolean().meta({
    description:
      'false: nothing is sent. Events that occur while an endpoint is disabled are not delivered later.',
  })
  return z
    .strictObject({ ...fields(allowLoopback), enabled })
    .partial()
    .meta({ id: 'UpdateWebhookEndpoint' })
}

export const rotateSecretBody = optionalBody(
  z
    .strictObject({
      overlap_seconds: z.int().min(0).max(604_800).default(86_400).meta({
        description: 'Seconds during which deliveries are also signed with the old secret.',
      }),
    })
    .meta({ id: 'RotateWebhookEndpointSecret' }),
)

export const endpointParams = conferenceParams.extend({ id })

export const endpointSchema = z
  .object({
    id: z.string(),
    object: z.literal('webhook_endpoint'),
    url: z.string(),
    description: z.string().nullable(),
    event_types: eventTypes,
    secret: z.string().meta({
      description:
        'The Standard Webhooks secret. Masked, except in the response that creates or rotates it.',
    }),
    enabled: z.boolean(),
    disabled_by: z.enum(['staff', 'receiver']).nullable().meta({
      description: 'receiver: the receiver responded with 410 Gone.',
    }),
    disabled_at: timestamp.nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'WebhookEndpoint' })

export const endpointPage = pageOf(endpointSchema).meta({ id: 'WebhookEndpointPage' })

export function toEndpointBody(endpoint: WebhookEndpoint): z.infer<typeof endpointSchema> {
  return {
    id: endpoint.id,
    object: 'webhook_endpoint',
    url: endpoint.url,
    description: endpoint.description,
    event_types: endpoint.eventTypes,
    secret: `whsec_****${endpoint.secretLast4}`,
    enabled: endpoint.disabledAt === null,
    disabled_by: endpoint.disabledBy,
    disabled_at: toTimestamp(endpoint.disabledAt),
    created_at: toTimestamp(endpoint.createdAt),
    updated_at: toTimestamp(endpoint.updatedAt),
  }
}

export function toEndpointWithSecretBody({
  endpoint,
  secret,
}: EndpointWithSecret): z.infer<typeof endpointSchema> {
  return { ...toEndpointBody(endpoint), secret }
}

const state = z.enum(DELIVERY_STATES).meta({
  id: 'WebhookDeliveryState',
  description:
    'pending: waits for its next attempt. failed: no attempt is left; it waits for a replay.',
})

export const deliveryQuery = z.strictObject({
  state: state.optional(),
  type: outboundEventType.optional(),
  ...pageQuery,
})

export const deliveryParams = endpointParams.extend({ delivery: id })

const payload = z
  .object({
    type: outboundEventType,
    timestamp,
    data: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  })
  .meta({ id: 'OutgoingEvent', description: 'The body of an outbound webhook.' })

export const deliverySchema = z
  .object({
    id: z.string().meta({ description: 'The `webhook-id`, the same in every attempt.' }),
    object: z.literal('webhook_delivery'),
    endpoint: z.string(),
    state,
    attempts: z.int(),
    next_attempt_at: timestamp.nullable(),
    last_attempt_at: timestamp.nullable(),
    last_status: z
      .int()
      .nullable()
      .meta({ description: 'HTTP status of the last attempt. null: no response.' }),
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

import { z } from 'zod'
import {
  conferenceParams,
  optionalBody,
  timestamp,
  toTimestamp,
} from '../../http/common-schemas.ts'
import { pageOf } from '../../http/pages.ts'
import type { EndpointWithSecret } from './endpoint-store.ts'
import { urlProblem } from './endpoint-url.ts'
import { OUTGOING_EVENT_TYPES } from './event-types.ts'
import type { WebhookEndpoint } from './webhook-endpoint.ts'

export const outgoingEventType = z.enum(OUTGOING_EVENT_TYPES).meta({ id: 'OutgoingEventType' })

const eventTypes = z
  .array(outgoingEventType)
  .min(1)
  .max(OUTGOING_EVENT_TYPES.length)
  .nullable()
  .meta({ description: 'null: every type, also those of a later release.' })

/** @param allowLoopback see `urlProblem`. */
function fields(allowLoopback: boolean) {
  const url = z.string().superRefine((text, issues) => {
    const problem = urlProblem(text, allowLoopback)
    if (problem !== null) issues.addIssue({ code: 'custom', message: problem })
  })
  return {
    url: url.meta({ description: 'https only. An address in a private network is never called.' }),
    description: z.string().trim().min(1).max(200).nullable(),
    event_types: eventTypes,
  }
}

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

export function updateEndpointBody(allowLoopback: boolean) {
  const enabled = z.boolean().meta({
    description: 'false: nothing is sent, and what happens meanwhile is not told later either.',
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
        description: 'So long deliveries are signed with the old secret too. Seconds.',
      }),
    })
    .meta({ id: 'RotateWebhookEndpointSecret' }),
)

export const endpointParams = conferenceParams.extend({ id: z.string() })

export const endpointSchema = z
  .object({
    id: z.string(),
    object: z.literal('webhook_endpoint'),
    url: z.string(),
    description: z.string().nullable(),
    event_types: eventTypes,
    secret: z.string().meta({
      description: 'In the clear where it was just made, else masked. For Standard Webhooks.',
    }),
    enabled: z.boolean(),
    disabled_by: z.enum(['staff', 'receiver']).nullable().meta({
      description: 'receiver: it answered 410 Gone.',
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

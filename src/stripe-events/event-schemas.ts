import { z } from 'zod'
import { conferenceParams, pageOf, pageQuery, stripeId } from '../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import { EVENT_STATUSES, type EventRow } from './event-inbox.ts'

const status = z.enum(EVENT_STATUSES).meta({
  id: 'StripeEventStatus',
  description:
    'pending: will be processed or retried. done: processed. ignored: not relevant to this conference. failed: all retries failed; replay the event.',
})

export const eventParams = conferenceParams.extend({ event: stripeId })

export const eventQuery = z.strictObject({
  status: status.optional(),
  type: z
    .string()
    .regex(/^[a-z0-9_]+(\.[a-z0-9_]+)+$/, 'must be an event type such as refund.created')
    .max(100)
    .optional(),
  ...pageQuery,
})

export const stripeEventSchema = z
  .object({
    id: z.string().meta({ description: "Stripe's id of the event." }),
    object: z.literal('stripe_event'),
    type: z.string(),
    livemode: z.boolean(),
    api_version: z.string().nullable(),
    status,
    attempts: z.int(),
    next_attempt_at: timestamp.nullable(),
    last_error: z.string().nullable(),
    source: z.enum(['webhook', 'missed', 'replay']),
    purchase: z.string().nullable(),
    created_at: timestamp.meta({ description: 'When Stripe created the event.' }),
    received_at: timestamp,
    finished_at: timestamp.nullable(),
  })
  .meta({ id: 'StripeEvent' })

export const stripeEventPage = pageOf(stripeEventSchema).meta({ id: 'StripeEventPage' })

export function toStripeEventBody(row: EventRow): z.infer<typeof stripeEventSchema> {
  return {
    id: row.id,
    object: 'stripe_event',
    type: row.type,
    livemode: row.livemode,
    api_version: row.api_version,
    status: row.status,
    attempts: row.attempts,
    next_attempt_at: row.status === 'pending' ? toTimestamp(row.next_attempt_at) : null,
    last_error: row.last_error,
    source: row.source,
    purchase: row.purchase_id,
    created_at: toTimestamp(row.created_at_stripe),
    received_at: toTimestamp(row.received_at),
    finished_at: toTimestamp(row.finished_at),
  }
}

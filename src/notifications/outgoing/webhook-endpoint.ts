import type { OutgoingEventType } from './event-types.ts'

/** Where a conference wants to be told of events. Everything but its secret. */
export type WebhookEndpoint = {
  id: string
  url: string
  description: string | null
  /** null: every type. */
  eventTypes: OutgoingEventType[] | null
  secretLast4: string
  disabledAt: Date | null
  /** `receiver`: it answered 410 Gone. */
  disabledBy: 'staff' | 'receiver' | null
  createdAt: Date
  updatedAt: Date
}

/** As many as one Stripe account may have. Each event is written once for each of them. */
export const MOST_ENDPOINTS = 16

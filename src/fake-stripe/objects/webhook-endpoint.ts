import type Stripe from 'stripe'
import { defineTable } from '../core/table.ts'

export const webhookEndpoints = defineTable<Stripe.WebhookEndpoint>('webhook_endpoint')

/** `until` in milliseconds since 1970; null: for good. */
export type EndpointSecret = { secret: string; until: number | null }

/** Kept apart from the endpoint, since Stripe shows the secret only when the endpoint is created. */
export const endpointSecrets = defineTable<{ id: string; secrets: EndpointSecret[] }>(
  'webhook_endpoint.secrets',
  { hidden: true },
)

/** The secrets that sign at this moment, newest first. @param now milliseconds since 1970. */
export function activeSecrets(secrets: readonly EndpointSecret[], now: number): string[] {
  const active = secrets.filter(({ until }) => until === null || until > now)
  return active.map(({ secret }) => secret)
}

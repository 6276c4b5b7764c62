import type Stripe from 'stripe'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

export const webhookEndpoints = defineTable<Stripe.WebhookEndpoint>('webhook_endpoint')

/** `until` in milliseconds since 1970; null: no end. */
export type EndpointSecret = { secret: string; until: number | null }

/**
 * Stored apart from the endpoint, because Stripe shows the secret only when the endpoint is
 * created.
 */
export const endpointSecrets = defineTable<{ id: string; secrets: EndpointSecret[] }>(
  'webhook_endpoint.secrets',
  { hidden: true },
)

/** The secrets that are active now, newest first. @param now milliseconds since 1970. */
export function activeSecrets(secrets: readonly EndpointSecret[], now: number): string[] {
  const active = secrets.filter(({ until }) => until === null || until > now)
  return active.map(({ secret }) => secret)
}

export type EndpointInput = {
  url: string
  /** `['*']` is every event. */
  events: string[]
  /** `whsec_…`; default: a new one. */
  secret?: string | undefined
  apiVersion?: string | null
  description?: string | null
  metadata?: Record<string, string>
}

export function createEndpoint(
  { account, world }: Scope,
  input: EndpointInput,
): { endpoint: Stripe.WebhookEndpoint; secret: string } {
  const secret = input.secret ?? fakeId('whsec_', 32)
  const endpoint = account.rows(webhookEndpoints).insert({
    id: fakeId('we_1'),
    object: 'webhook_endpoint',
    api_version: input.apiVersion ?? null,
    application: null,
    created: world.clock.seconds(),
    description: input.description ?? null,
    enabled_events: input.events,
    livemode: account.livemode,
    metadata: input.metadata ?? {},
    status: 'enabled',
    url: input.url,
  })
  account.rows(endpointSecrets).insert({ id: endpoint.id, secrets: [{ secret, until: null }] })
  return { endpoint, secret }
}

/**
 * Adds a new secret. Until the overlap ends, deliveries are also signed with the old ones.
 *
 * @param overlapSeconds at most a day at Stripe.
 * @returns the new `whsec_…`.
 * @see https://docs.stripe.com/webhooks#roll-endpoint-secrets
 */
export function rollSecret({ account, world }: Scope, id: string, overlapSeconds: number): string {
  const rows = account.rows(endpointSecrets)
  const secret = fakeId('whsec_', 32)
  const until = world.clock.now() + overlapSeconds * 1000
  const old = (rows.get(id)?.secrets ?? []).map((entry) => ({
    secret: entry.secret,
    until: Math.min(entry.until ?? until, until),
  }))
  rows.replace({ id, secrets: [{ secret, until: null }, ...old] })
  return secret
}

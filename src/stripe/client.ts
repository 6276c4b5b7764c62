import Stripe from 'stripe'
import { livemodeOf, readStripeKey } from '../conferences/stripe-credentials.ts'
import { type Config, isStripeItself } from '../config.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Encryption } from '../shared/encryption.ts'
import { AppError } from '../shared/errors.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { createCountingHttpClient, type HttpClient } from './counting-http-client.ts'

/** Named here so that an update of the SDK cannot change it without a line in a diff. */
const STRIPE_API_VERSION = '2026-10-28.endive'

const NETWORK_RETRIES = 2

export type StripeSettings = Pick<Config, 'stripeApiBase' | 'stripeTimeoutSeconds'>

/** A client with what its key says of the mode of every object that it may return. */
export type StripeConnection = { stripe: Stripe; livemode: boolean }

export type StripeClients = {
  /** @throws AppError `stripe_key_missing`; `stripe_refused` for a live key and a stand-in. */
  forConference(conferenceId: string): Promise<Stripe>
  /** The same, with the mode. */
  connect(conferenceId: string): Promise<StripeConnection>
}

/** A live key is worth money, so it is never sent to anybody but Stripe. */
export function mayReceive(apiBase: string | null, stripeKey: string): boolean {
  return !livemodeOf(stripeKey) || isStripeItself(apiBase ?? undefined)
}

function addressOf(apiBase: string | null) {
  if (apiBase === null) return {}
  const { hostname, port, protocol } = new URL(apiBase)
  const isHttp = protocol === 'http:'
  return {
    // Node wants the address of `http://[::1]:12111` without its brackets.
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port || (isHttp ? 80 : 443),
    protocol: isHttp ? ('http' as const) : ('https' as const),
  }
}

/** A client for one key, with everything that an SDK default could change made explicit. */
export function buildStripe(
  stripeKey: string,
  settings: StripeSettings,
  httpClient: HttpClient,
): Stripe {
  return new Stripe(stripeKey, {
    apiVersion: STRIPE_API_VERSION,
    timeout: settings.stripeTimeoutSeconds * 1000,
    maxNetworkRetries: NETWORK_RETRIES,
    telemetry: false,
    httpClient,
    ...addressOf(settings.stripeApiBase),
  })
}

/**
 * Clients by conference. The key is read each time, one indexed row, so that a changed one is used
 * at once by every process; only the client built on it is kept.
 */
export function createStripeClients(deps: {
  db: Db
  encryption: Encryption
  config: StripeSettings
  metrics: ServiceMetrics
}): StripeClients {
  const httpClient = createCountingHttpClient(deps.metrics)
  const kept = new Map<string, { key: string; stripe: Stripe }>()

  async function connect(conferenceId: string): Promise<StripeConnection> {
    const key = await withTenant(deps.db, { conferenceId }, (trx) =>
      readStripeKey(trx, deps.encryption, conferenceId),
    )
    if (key === null) {
      throw new AppError('stripe_key_missing', 'The conference has no Stripe key yet.')
    }
    if (!mayReceive(deps.config.stripeApiBase, key)) {
      throw new AppError('stripe_refused', 'A live key is not sent to a stand-in for Stripe.')
    }
    const known = kept.get(conferenceId)
    if (known?.key === key) return { stripe: known.stripe, livemode: livemodeOf(key) }
    const stripe = buildStripe(key, deps.config, httpClient)
    kept.set(conferenceId, { key, stripe })
    return { stripe, livemode: livemodeOf(key) }
  }

  return { connect, forConference: async (conferenceId) => (await connect(conferenceId)).stripe }
}

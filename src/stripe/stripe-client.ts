import Stripe from 'stripe'
import { livemodeOf, readStripeCredentials } from '../conferences/stripe-credentials.ts'
import { type Config, isStripeApi } from '../config.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { createCountingHttpClient, type HttpClient } from './counting-http-client.ts'
import {
  createInteractiveHttpClient,
  createThrottledHttpClient,
} from './rate-limit/rate-limited-http-clients.ts'
import { createStripeRateLimiter, rateLimitKeyOf } from './rate-limit/stripe-rate-limiter.ts'

/** Named here so that an update of the SDK cannot change it without a line in a diff. */
const STRIPE_API_VERSION = '2026-10-28.endive'

const NETWORK_RETRIES = 2

export type StripeSettings = Pick<Config, 'stripeApiBase' | 'stripeTimeoutSeconds'>

/** A client with what its key says of the mode of every object that it may return. */
export type StripeConnection = { stripe: Stripe; livemode: boolean }

/**
 * All three throw AppError `stripe_key_missing`, and `stripe_refused` for a live key and a stand-in.
 */
export type StripeClients = {
  /** For what a person or a purchase waits for: its requests go out at once. */
  forConference(conferenceId: string): Promise<Stripe>
  /** The same, with the mode. */
  connect(conferenceId: string): Promise<StripeConnection>
  /**
   * For work that can wait, such as a sync: its requests stay within STRIPE_REQUESTS_PER_SECOND of
   * the account, over all processes, and give way to the others.
   *
   * @param signal - ends the waiting for a turn; the SDK reports that as a connection error.
   */
  background(conferenceId: string, signal?: AbortSignal): Promise<StripeConnection>
}

/** A live key is worth money, so it is never sent to anybody but Stripe. */
export function mayReceiveKey(apiBase: string | null, stripeKey: string): boolean {
  return !livemodeOf(stripeKey) || isStripeApi(apiBase ?? undefined)
}

function hostOptions(apiBase: string | null) {
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
    ...hostOptions(settings.stripeApiBase),
  })
}

type Credentials = { key: string; accountKey: string }

/**
 * Clients by conference. The key is read each time, one indexed row, so that a changed one is used
 * at once by every process; only the client built on it is kept.
 */
export function createStripeClients(deps: {
  db: Db
  encryption: Encryption
  config: StripeSettings & Pick<Config, 'stripeRequestsPerSecond'>
  metrics: ServiceMetrics
  logger: Logger
}): StripeClients {
  const { db, config, logger } = deps
  const inner = createCountingHttpClient(deps.metrics)
  const budget = createStripeRateLimiter({
    db,
    logger,
    requestsPerSecond: config.stripeRequestsPerSecond,
  })
  const kept = new Map<string, Credentials & { stripe: Stripe }>()

  async function credentials(conferenceId: string): Promise<Credentials> {
    const found = await withTenant(db, { conferenceId }, (trx) =>
      readStripeCredentials(trx, deps.encryption, conferenceId),
    )
    if (found === null) {
      throw new AppError('stripe_key_missing', 'The conference has no Stripe key yet.')
    }
    if (!mayReceiveKey(config.stripeApiBase, found.key)) {
      throw new AppError('stripe_refused', 'A live key is not sent to a stand-in for Stripe.')
    }
    return { key: found.key, accountKey: rateLimitKeyOf(found.key, found.account) }
  }

  async function connect(conferenceId: string): Promise<StripeConnection> {
    const { key, accountKey } = await credentials(conferenceId)
    const livemode = livemodeOf(key)
    const known = kept.get(conferenceId)
    if (known?.key === key && known.accountKey === accountKey) {
      return { stripe: known.stripe, livemode }
    }
    const http = createInteractiveHttpClient({ inner, budget, accountKey, logger })
    const stripe = buildStripe(key, config, http)
    kept.set(conferenceId, { key, accountKey, stripe })
    return { stripe, livemode }
  }

  return {
    connect,
    forConference: async (conferenceId) => (await connect(conferenceId)).stripe,
    // Not kept: one serves a whole sync, and may have a signal of its own.
    async background(conferenceId, signal) {
      const { key, accountKey } = await credentials(conferenceId)
      const paced = {
        inner,
        budget,
        accountKey,
        logger,
        ...(signal === undefined ? {} : { signal }),
      }
      const stripe = buildStripe(key, config, createThrottledHttpClient(paced))
      return { stripe, livemode: livemodeOf(key) }
    },
  }
}

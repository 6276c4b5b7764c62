import Stripe from 'stripe'
import { livemodeOf, readStripeCredentials } from '../conferences/stripe-credentials.ts'
import { type Config, isStripeApi } from '../config.ts'
import type { Db } from '../db/connect.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { createStripeRateLimiter, rateLimitKeyOf } from './rate-limit/stripe-rate-limiter.ts'
import {
  createCountingHttpClient,
  createInteractiveHttpClient,
  createThrottledHttpClient,
  type HttpClient,
} from './stripe-http-clients.ts'

/** Set explicitly, so that an update of the SDK cannot change it unnoticed. */
const STRIPE_API_VERSION = '2026-10-28.endive'

const NETWORK_RETRIES = 2

export type StripeSettings = Pick<Config, 'stripeApiBase' | 'stripeTimeoutSeconds'>

/** A client, and whether its key is for live mode. */
export type StripeConnection = { stripe: Stripe; livemode: boolean }

/**
 * Stripe clients of conferences. Each method throws AppError `stripe_key_missing`, and
 * `stripe_refused` for a live key when STRIPE_API_BASE does not point to Stripe.
 */
export type StripeClients = {
  /** For interactive work, such as a purchase: its requests are sent without waiting. */
  forConference(conferenceId: string): Promise<Stripe>
  /** Like `forConference`, with the mode. */
  connect(conferenceId: string): Promise<StripeConnection>
  /**
   * For background work, such as a sync: its requests wait until the account's rate limit allows
   * them (STRIPE_REQUESTS_PER_SECOND, shared by all processes). Interactive requests go first.
   *
   * @param signal - ends the waiting; the SDK reports that as a connection error.
   */
  background(conferenceId: string, signal?: AbortSignal): Promise<StripeConnection>
}

/** A live key can move money, so it is only sent to Stripe itself. */
export function mayReceiveKey(apiBase: string | null, stripeKey: string): boolean {
  return !livemodeOf(stripeKey) || isStripeApi(apiBase ?? undefined)
}

function hostOptions(apiBase: string | null) {
  if (apiBase === null) return {}
  const { hostname, port, protocol } = new URL(apiBase)
  const isHttp = protocol === 'http:'
  return {
    // Node expects the host of `http://[::1]:12111` without brackets.
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port || (isHttp ? 80 : 443),
    protocol: isHttp ? ('http' as const) : ('https' as const),
  }
}

/** A client for one key. It sets every option whose default an SDK update might change. */
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
 * Clients by conference. The key is read from the database for each call (one indexed row), so that
 * every process uses a changed key immediately. Only the client built with it is cached.
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
  const rateLimiter = createStripeRateLimiter({
    db,
    logger,
    requestsPerSecond: config.stripeRequestsPerSecond,
  })
  const cache = new Map<string, Credentials & { stripe: Stripe }>()

  async function credentials(conferenceId: string): Promise<Credentials> {
    const found = await readStripeCredentials(db, deps.encryption, conferenceId)
    if (found === null) {
      throw new AppError(
        'stripe_key_missing',
        'The conference has no Stripe key. An operator must set one.',
      )
    }
    if (!mayReceiveKey(config.stripeApiBase, found.key)) {
      throw new AppError(
        'stripe_refused',
        'The conference has a live Stripe key, but STRIPE_API_BASE does not point to Stripe. An operator must remove STRIPE_API_BASE.',
      )
    }
    return { key: found.key, accountKey: rateLimitKeyOf(found.key, found.account) }
  }

  async function connect(conferenceId: string): Promise<StripeConnection> {
    const { key, accountKey } = await credentials(conferenceId)
    const livemode = livemodeOf(key)
    const cached = cache.get(conferenceId)
    if (cached?.key === key && cached.accountKey === accountKey) {
      return { stripe: cached.stripe, livemode }
    }
    const http = createInteractiveHttpClient({ inner, rateLimiter, accountKey, logger })
    const stripe = buildStripe(key, config, http)
    cache.set(conferenceId, { key, accountKey, stripe })
    return { stripe, livemode }
  }

  return {
    connect,
    forConference: async (conferenceId) => (await connect(conferenceId)).stripe,
    // Not cached: one client serves a whole sync and may have its own signal.
    async background(conferenceId, signal) {
      const { key, accountKey } = await credentials(conferenceId)
      const http = createThrottledHttpClient({
        inner,
        rateLimiter,
        accountKey,
        logger,
        ...(signal === undefined ? {} : { signal }),
      })
      return { stripe: buildStripe(key, config, http), livemode: livemodeOf(key) }
    },
  }
}

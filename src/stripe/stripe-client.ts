import Stripe from 'stripe'
import { livemodeOf, readStripeCredentials } from '../conferences/stripe-credentials.ts'
import { type Config, isStripeApi } from '../config.ts'
import type { Db } from '../db/connect.ts'
import { type Encryption, sha256 } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics, StripeRequestOutcome } from '../shared/service-metrics.ts'
import { currentWork } from '../shared/work-context.ts'
import { createStripeRateLimiter, type StripeRateLimiter } from './stripe-rate-limiter.ts'
import { MAX_PAUSE_SECONDS, RateLimitWait } from './wait-for-rate-limit.ts'

/** Set explicitly, so that an update of the SDK cannot change it unnoticed. */
const STRIPE_API_VERSION = '2026-10-28.endive'

const NETWORK_RETRIES = 2

export type StripeSettings = Pick<Config, 'stripeApiBase' | 'stripeTimeoutSeconds'>

/** A client, and whether its key is for live mode. */
export type StripeConnection = { stripe: Stripe; livemode: boolean }

/**
 * Stripe clients of conferences. Each method throws AppError `stripe_key_missing`, and
 * `stripe_key_rejected` for a live key when STRIPE_API_BASE does not point to Stripe.
 */
export type StripeClients = {
  /** For interactive work, such as a purchase: its requests are sent without waiting. */
  forConference(conferenceId: string): Promise<Stripe>
  /** Like `forConference`, with the mode. */
  connect(conferenceId: string): Promise<StripeConnection>
  /**
   * For background work, such as a sync: its requests wait until the account's rate limit allows
   * them (STRIPE_REQUESTS_PER_SECOND, shared by all processes). Interactive requests go first. A request
   * that must wait longer than `maxWaitSeconds` fails with a 429 whose `Retry-After` is that wait.
   *
   * @param signal - ends the waiting; the SDK reports that as a connection error.
   */
  background(conferenceId: string, signal?: AbortSignal): Promise<StripeConnection>
}

/** A live key can move money, so it is only sent to Stripe itself. */
export function mayReceiveKey(apiBase: string | null, stripeKey: string): boolean {
  return !livemodeOf(stripeKey) || isStripeApi(apiBase ?? undefined)
}

/**
 * The account whose limit a Stripe key counts against. Conferences on one account share its limit;
 * Stripe limits test mode and live mode separately. Until the account is known, this is a hash from
 * which the key cannot be derived: it appears in the database and in the log.
 *
 * @param account - `acct_…` or null.
 */
export function rateLimitKeyOf(stripeKey: string, account: string | null): string {
  if (account === null) return `key_${sha256(stripeKey).slice(0, 32)}`
  return livemodeOf(stripeKey) ? account : `${account}:test`
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
  /** For background requests. Absent: no limit, as for a command, which delays no other work. */
  maxWaitSeconds?: number
}): StripeClients {
  const { db, config, logger, maxWaitSeconds } = deps
  const inner = createCountingHttpClient(deps.metrics)
  const rateLimiter = createStripeRateLimiter({
    db,
    logger,
    requestsPerSecond: config.stripeRequestsPerSecond,
    ...(maxWaitSeconds === undefined ? {} : { maxWaitSeconds }),
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
        // No refusal: after a write it would release the Idempotency-Key of what was made.
        'stripe_key_rejected',
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
        ...(maxWaitSeconds === undefined ? {} : { maxWaitSeconds }),
      })
      return { stripe: buildStripe(key, config, http), livemode: livemodeOf(key) }
    },
  }
}

type HttpClient = InstanceType<typeof Stripe.HttpClient>

function outcomeOf(status: number): StripeRequestOutcome {
  if (status === 429) return 'rate_limited'
  if (status === 401 || status === 403) return 'key_rejected'
  if (status >= 500) return 'failed'
  return status >= 400 ? 'refused' : 'ok'
}

/**
 * The SDK's HTTP client, with a metric for each request, and a step of the trace. The SDK's `response` event is not enough:
 * it reports neither requests that the SDK retried nor requests without a response.
 */
export function createCountingHttpClient(metrics: ServiceMetrics): HttpClient {
  const inner = Stripe.createNodeHttpClient()
  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      const operation = operationOf(request[3], request[2])
      const startedAt = performance.now()
      const report = (outcome: StripeRequestOutcome, status?: number) => {
        metrics.stripeRequest(operation, outcome, (performance.now() - startedAt) / 1000)
        currentWork()?.span?.record({
          name: `stripe ${operation}`,
          kind: 'client',
          startedAt,
          attributes: {
            'http.request.method': request[3],
            'server.address': request[0],
            ...(status === undefined ? {} : { 'http.response.status_code': status }),
          },
          error: outcome === 'ok' ? undefined : outcome,
        })
      }
      try {
        const response = await inner.makeRequest(...request)
        const status = response.getStatusCode()
        report(outcomeOf(status), status)
        return response
      } catch (error) {
        report('unreachable')
        throw withoutClosedCode(error)
      }
    },
  }
}

const CLOSED_CODES: readonly unknown[] = ['ECONNRESET', 'EPIPE']

/**
 * The SDK repeats a request once whose connection was closed, even if `maxNetworkRetries` is 0, and
 * returns the answer to the repeat. A refusal would then look like that of the first request, which
 * proves that nothing was made. Without the error's code, the SDK obeys `maxNetworkRetries`.
 */
function withoutClosedCode(error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error)) return error
  return CLOSED_CODES.includes(error.code) ? new Error(error.message, { cause: error }) : error
}

// Path prefixes after which a second word names the resource, as in `/v1/checkout/sessions`.
const NAMESPACES = new Set(['checkout', 'radar', 'billing_portal', 'test_helpers'])
const SINGULAR = new Set(['account', 'balance'])

function verbOf(method: string, hasId: boolean): string {
  if (method === 'DELETE') return 'delete'
  if (method === 'GET') return hasId ? 'retrieve' : 'list'
  return hasId ? 'update' : 'create'
}

/**
 * The name of a request for a metric's label: without ids, so that there are few values.
 * `POST /v1/checkout/sessions/cs_1/expire` → `checkout.sessions.expire`.
 */
export function operationOf(method: string, path: string): string {
  const words = (path.split('?')[0] ?? '').split('/').slice(2)
  const size = NAMESPACES.has(words[0] ?? '') ? 2 : 1
  const resource = words.slice(0, size).join('.')
  const [id, action] = words.slice(size)
  const hasId = id !== undefined || SINGULAR.has(resource)
  return `${resource}.${action ?? verbOf(method, hasId)}`
}

type RateLimitedClientOptions = {
  inner: HttpClient
  rateLimiter: StripeRateLimiter
  accountKey: string
  logger: Pick<Logger, 'warn'>
}

// With the longest back-offs these take about a minute. After that the job's own retries take over. Less
// than MAX_SLOT_WAIT_SECONDS, so that a lock on one object at Stripe does not interrupt all work.
const MAX_RETRIES = 8
const MAX_BACKOFF_SECONDS = 8

/**
 * For background work: each request first waits for a slot of the account. A 429 pauses the
 * account's background work in every process, and the request is retried with the same idempotency
 * key. The last 429 is returned to the caller.
 *
 * @param options.maxWaitSeconds - a 429 is returned immediately when the wait would be longer.
 * @param options.signal - ends the waiting; the SDK reports that as a connection error.
 */
export function createThrottledHttpClient(
  options: RateLimitedClientOptions & { signal?: AbortSignal; maxWaitSeconds?: number },
): HttpClient {
  const { inner, rateLimiter, accountKey, logger, signal } = options
  const { maxWaitSeconds = Number.POSITIVE_INFINITY } = options
  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      for (let retry = 0; ; retry += 1) {
        try {
          await rateLimiter.acquire(accountKey, signal)
        } catch (error) {
          if (error instanceof RateLimitWait) return pausedResponse(error)
          throw error
        }
        const response = await inner.makeRequest(...request)
        const limit = parseRateLimit(response)
        if (limit === null) return response
        const pausedSeconds = limit.retryAfterSeconds ?? backoffSeconds(retry)
        logger.warn(
          { accountKey, pausedSeconds, ...limit },
          'Stripe rate-limited a background request',
        )
        const isLast = retry === MAX_RETRIES || pausedSeconds > maxWaitSeconds
        // A response whose body is not read would keep its connection.
        if (!isLast) await response.toJSON().catch(() => {})
        await rateLimiter.pause(accountKey, pausedSeconds)
        if (isLast) return response
      }
    },
  }
}

/**
 * Takes the place of the 429 that Stripe would send. The SDK would repeat a request that throws, but not
 * one with this response.
 */
function pausedResponse(wait: RateLimitWait): HttpResponse {
  const headers = {
    'retry-after': String(Math.ceil(wait.seconds)),
    'stripe-should-retry': 'false',
  }
  return {
    getStatusCode: () => 429,
    getHeaders: () => headers,
    getRawResponse: () => null,
    toStream: () => null,
    toJSON: async () => ({ error: { type: 'rate_limit_error', message: wait.message } }),
  }
}

/** 1, 2, 4, 8 s; up to half of it is random, so that processes do not retry at the same time. */
function backoffSeconds(retry: number): number {
  const longest = Math.min(2 ** retry, MAX_BACKOFF_SECONDS)
  return longest * (0.5 + Math.random() / 2)
}

// For a 429 without `Retry-After`, such as a lock that another request holds.
const DEFAULT_PAUSE_SECONDS = 1

/**
 * For interactive work: no request waits. Each one counts against the account's limit, and a 429
 * pauses the account's background work for the time that Stripe names. The caller gets the response
 * unchanged.
 */
export function createInteractiveHttpClient(options: RateLimitedClientOptions): HttpClient {
  const { inner, rateLimiter, accountKey, logger } = options

  function pauseBackground(seconds: number): void {
    rateLimiter
      .pause(accountKey, seconds)
      .catch((err: unknown) => logger.warn({ err }, 'could not pause background requests'))
  }

  return {
    getClientName: () => inner.getClientName(),
    async makeRequest(...request) {
      rateLimiter.recordRequest(accountKey)
      const response = await inner.makeRequest(...request)
      const limit = parseRateLimit(response)
      if (limit !== null) {
        logger.warn({ accountKey, ...limit }, 'Stripe rate-limited an interactive request')
        pauseBackground(limit.retryAfterSeconds ?? DEFAULT_PAUSE_SECONDS)
      }
      return response
    },
  }
}

type HttpResponse = Awaited<ReturnType<HttpClient['makeRequest']>>

/** Headers of a 429. `retryAfterSeconds` is null when Stripe named no time. */
type RateLimitHeaders = { retryAfterSeconds: number | null; reason: string | null }

/**
 * Null unless the response is a 429.
 *
 * @see https://docs.stripe.com/rate-limits
 */
function parseRateLimit(response: HttpResponse): RateLimitHeaders | null {
  if (response.getStatusCode() !== 429) return null
  const headers = response.getHeaders()
  const reason = headers['stripe-rate-limited-reason']
  return {
    retryAfterSeconds: parseSeconds(headers['retry-after']),
    reason: typeof reason === 'string' ? reason : null,
  }
}

function parseSeconds(header: string | string[] | undefined): number | null {
  if (typeof header !== 'string' || !/^\d+(\.\d+)?$/.test(header.trim())) return null
  return Math.min(Number(header), MAX_PAUSE_SECONDS)
}

import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { RequestFilteringHttpAgent, RequestFilteringHttpsAgent } from 'request-filtering-agent'
import { Webhook } from 'standardwebhooks'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Encryption } from '../shared/cryptography.ts'
import type { Logger } from '../shared/logger.ts'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import { addDeliveryJob, type DeliveryRef } from './outbound-events.ts'
import { openSigningSecret } from './webhook-endpoints.ts'

export type DeliverDeps = {
  db: Db
  encryption: Encryption
  logger: Logger
  postWebhook: PostWebhook
}

type PendingDelivery = {
  body: string
  attempts: number
  url: string
  disabled: boolean
  secrets: string[]
  now: Date
}

type PendingDeliveryRow = {
  body: string
  attempts: number
  url: string
  disabled_at: Date | null
  secret_sealed: string
  /** null when deliveries are no longer signed with it. */
  previous_sealed: string | null
  now: Date
}

/** The result of one attempt. `status` null: no answer. */
type Outcome = { status: number | null; error: string | null }

const GONE = 410
const MAX_ERROR_LENGTH = 300

/**
 * Makes one attempt of a pending delivery. The outcome is recorded after the answer. If the process dies
 * in between, the receiver gets the webhook twice with the same `webhook-id`.
 *
 * @throws Error only when the process stops or the database fails. The job is then retried.
 */
export async function deliverWebhook(
  deps: DeliverDeps,
  ref: DeliveryRef,
  signal: AbortSignal,
): Promise<void> {
  const due = await withTenant(deps.db, ref, (trx) =>
    findPendingDelivery(trx, deps.encryption, ref),
  )
  if (due === null) return
  const outcome = due.disabled
    ? { status: null, error: 'The endpoint is disabled.' }
    : await attemptDelivery(deps.postWebhook, ref.deliveryId, due, signal)
  await withTenant(deps.db, ref, (trx) => recordOutcome(trx, deps.logger, ref, due, outcome))
}

async function findPendingDelivery(
  trx: Tx,
  encryption: Encryption,
  ref: DeliveryRef,
): Promise<PendingDelivery | null> {
  const row = await trx('webhook_deliveries as d')
    .join('webhook_endpoints as e', (on) =>
      on.on('e.conference_id', 'd.conference_id').andOn('e.id', 'd.endpoint_id'),
    )
    .where({ 'd.conference_id': ref.conferenceId, 'd.id': ref.deliveryId, 'd.state': 'pending' })
    .first<PendingDeliveryRow | undefined>(
      'd.body',
      'd.attempts',
      'e.url',
      'e.disabled_at',
      'e.secret_sealed',
      trx.raw(`case when e.previous_secret_until > now() then e.previous_secret_sealed end
        as previous_sealed`),
      trx.raw('now() as now'),
    )
  if (row === undefined) return null
  const sealed = [row.secret_sealed, ...(row.previous_sealed === null ? [] : [row.previous_sealed])]
  return {
    body: row.body,
    attempts: row.attempts,
    url: row.url,
    disabled: row.disabled_at !== null,
    secrets: sealed.map((text) =>
      openSigningSecret(encryption, ref.conferenceId, ref.endpointId, text),
    ),
    now: row.now,
  }
}

async function attemptDelivery(
  post: PostWebhook,
  id: string,
  { url, body, secrets, now }: PendingDelivery,
  signal: AbortSignal,
): Promise<Outcome> {
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, now, body)).join(' '),
  }
  try {
    const status = await post({ url, headers, body, signal })
    const isDone = status >= 200 && status < 300
    return { status, error: isDone ? null : `The receiver answered ${status}.` }
  } catch (error) {
    // The process stops, so this does not count as an attempt.
    if (signal.aborted) throw error
    return { status: null, error: failureReason(error) }
  }
}

function failureReason(error: unknown): string {
  if (!(error instanceof Error)) return 'An unknown error occurred.'
  if (error.name === 'AbortError') return 'The receiver did not answer in time.'
  // The message of the filter contains the address, which a caller must not see.
  if (/ is not allowed\. Because/.test(error.message)) return 'The address is in a private network.'
  return error.message.slice(0, MAX_ERROR_LENGTH)
}

/** A no-op if this attempt was already recorded, or staff have requested a replay meanwhile. */
async function recordOutcome(
  trx: Tx,
  logger: Logger,
  ref: DeliveryRef,
  { attempts: before, disabled }: PendingDelivery,
  { status, error }: Outcome,
): Promise<void> {
  const attempts = disabled ? before : before + 1
  const isGone = status === GONE
  // Who deletes the endpoint locks it before its deliveries, too.
  if (isGone) await lockEndpoint(trx, ref)
  const wait = error === null || isGone || disabled ? null : retryDelaySeconds(attempts)
  const [written] = await trx('webhook_deliveries')
    .where({ conference_id: ref.conferenceId, id: ref.deliveryId, state: 'pending' })
    .where({ attempts: before })
    .update({
      attempts,
      ...(disabled ? {} : { last_attempt_at: trx.fn.now() }),
      last_status: status,
      last_error: error,
      ...(wait === null
        ? {
            state: error === null ? 'delivered' : 'failed',
            next_attempt_at: null,
            finished_at: trx.fn.now(),
          }
        : { next_attempt_at: trx.raw('now() + make_interval(secs => ?)', [wait]) }),
    })
    .returning<{ next_attempt_at: Date | null }[]>('next_attempt_at')
  if (written === undefined) return
  if (isGone) await disableEndpoint(trx, ref)
  if (written.next_attempt_at !== null) await addDeliveryJob(trx, ref, written.next_attempt_at)
  logOutcome(logger, ref, { attempts, error, isLast: wait === null })
}

const lockEndpoint = (trx: Tx, ref: DeliveryRef) =>
  trx('webhook_endpoints')
    .where({ conference_id: ref.conferenceId, id: ref.endpointId })
    .forNoKeyUpdate()
    .first('id')

/** The specification lets a receiver unsubscribe with a 410. */
async function disableEndpoint(trx: Tx, ref: DeliveryRef): Promise<void> {
  await trx('webhook_endpoints')
    .where({ conference_id: ref.conferenceId, id: ref.endpointId, disabled_at: null })
    .update({ disabled_at: trx.fn.now(), disabled_by: 'receiver', updated_at: trx.fn.now() })
}

function logOutcome(
  logger: Logger,
  { conferenceId, endpointId, deliveryId }: DeliveryRef,
  outcome: { attempts: number; error: string | null; isLast: boolean },
): void {
  const { attempts, error, isLast } = outcome
  if (error === null) return
  const line = { conference: conferenceId, endpoint: endpointId, delivery: deliveryId, attempts }
  if (isLast) logger.error({ ...line, error }, 'a webhook was not delivered; it waits for a replay')
  else logger.warn({ ...line, error }, 'a webhook was not delivered; it will be retried')
}

const MINUTE = 60
const HOUR = 60 * MINUTE

/**
 * Seconds between the attempts, as the Standard Webhooks specification proposes: ten attempts over 75.6
 * hours, so that a receiver may be down over a long weekend.
 */
const RETRY_DELAYS = [
  5,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

/** Delays are up to a tenth longer, so that deliveries which failed together are retried apart. */
const JITTER = 0.1

/**
 * @param attempts number of attempts so far.
 * @returns seconds until the next attempt, or null after the last one.
 */
export function retryDelaySeconds(attempts: number, random = Math.random()): number | null {
  const wait = RETRY_DELAYS[attempts - 1]
  return wait === undefined ? null : wait * (1 + JITTER * random)
}

/** The time that the specification gives a receiver to answer. */
const TIMEOUT_MS = 15_000

/** Addresses, not ranges: the filter compares ranges only within one address family. */
const LOOPBACK = ['127.0.0.1', '::1']

export type WebhookPost = {
  url: string
  headers: Record<string, string>
  body: string
  signal: AbortSignal
}

/**
 * Posts and resolves with the HTTP status. It does not follow redirects: they could lead anywhere, and
 * the specification counts them as failures.
 *
 * @throws Error without an answer in time, or when the address is in a private network.
 */
type PostWebhook = (post: WebhookPost) => Promise<number>

/**
 * Creates a sender that checks the address of the connection itself, after the name was resolved. So a
 * name cannot resolve to another address between the check and the call.
 */
export function createPostWebhook(options: { allowLoopback: boolean }): PostWebhook {
  // No keep-alive: attempts for one endpoint are minutes apart.
  const filter = {
    keepAlive: false,
    ...(options.allowLoopback ? { allowIPAddressList: LOOPBACK } : {}),
  }
  const agents = {
    http: new RequestFilteringHttpAgent(filter),
    https: new RequestFilteringHttpsAgent(filter),
  }
  return ({ url, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const isPlain = url.startsWith('http:')
      const send = isPlain ? httpRequest : httpsRequest
      const request = send(url, {
        method: 'POST',
        agent: isPlain ? agents.http : agents.https,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'user-agent': `sponsor-vouchers/${SERVICE_VERSION}`,
          ...headers,
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      request.on('error', reject)
      request.on('response', (response) => {
        resolve(response.statusCode ?? 0)
        // Only the status matters, and the body could be endless.
        response.destroy()
      })
      request.end(body)
    })
}

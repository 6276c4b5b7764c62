import { Webhook } from 'standardwebhooks'
import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Encryption } from '../../shared/encryption.ts'
import type { Logger } from '../../shared/logger.ts'
import { addDeliveryJob, type DeliveryRef } from './announce-event.ts'
import type { PostWebhook } from './post-webhook.ts'
import { secondsUntilNextTry } from './retry-schedule.ts'
import { openSigningSecret } from './signing-secret.ts'

export type DeliverDeps = {
  db: Db
  encryption: Encryption
  logger: Logger
  postWebhook: PostWebhook
}

type Due = {
  body: string
  attempts: number
  url: string
  disabled: boolean
  secrets: string[]
  now: Date
}

type DueRow = {
  body: string
  attempts: number
  url: string
  disabled_at: Date | null
  secret_sealed: string
  /** null when it counts no more. */
  previous_sealed: string | null
  now: Date
}

/** What became of a try. `status` null: there was no answer. */
type Outcome = { status: number | null; error: string | null }

const GONE = 410
const LONGEST_ERROR = 300

/**
 * One try of a delivery that is pending. The outcome is written after the answer, so a process that
 * dies in between lets the receiver hear it twice, under the same `webhook-id`.
 *
 * @throws Error only when the process stops or the database is away: the job comes again then.
 */
export async function deliverWebhook(
  deps: DeliverDeps,
  ref: DeliveryRef,
  signal: AbortSignal,
): Promise<void> {
  const due = await withTenant(deps.db, ref, (trx) => readDue(trx, deps.encryption, ref))
  if (due === null) return
  const outcome = due.disabled
    ? { status: null, error: 'The endpoint is disabled.' }
    : await tryOnce(deps.postWebhook, ref.deliveryId, due, signal)
  await withTenant(deps.db, ref, (trx) => record(trx, deps.logger, ref, due, outcome))
}

async function readDue(trx: Tx, encryption: Encryption, ref: DeliveryRef): Promise<Due | null> {
  const row = await trx('webhook_deliveries as d')
    .join('webhook_endpoints as e', (on) =>
      on.on('e.conference_id', 'd.conference_id').andOn('e.id', 'd.endpoint_id'),
    )
    .where({ 'd.conference_id': ref.conferenceId, 'd.id': ref.deliveryId, 'd.state': 'pending' })
    .first<DueRow | undefined>(
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

async function tryOnce(
  post: PostWebhook,
  id: string,
  { url, body, secrets, now }: Due,
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
    // The process stops: that was no try.
    if (signal.aborted) throw error
    return { status: null, error: reasonOf(error) }
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'Something that is no error was thrown.'
  if (error.name === 'AbortError') return 'The receiver did not answer in time.'
  // The filter's own words name the address, which is nothing that a caller should learn.
  if (/ is not allowed\. Because/.test(error.message)) return 'The address is in a private network.'
  return error.message.slice(0, LONGEST_ERROR)
}

/** Nothing when somebody else has recorded this very try, or staff asked for a replay meanwhile. */
async function record(
  trx: Tx,
  logger: Logger,
  ref: DeliveryRef,
  { attempts: before, disabled }: Due,
  { status, error }: Outcome,
): Promise<void> {
  const attempts = disabled ? before : before + 1
  const isGone = status === GONE
  const wait = error === null || isGone || disabled ? null : secondsUntilNextTry(attempts)
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
  if (isGone) await disableGone(trx, ref)
  if (written.next_attempt_at !== null) await addDeliveryJob(trx, ref, written.next_attempt_at)
  logOutcome(logger, ref, { attempts, error, isLast: wait === null })
}

/** The receiver wants no more of them, as the specification lets it say with a 410. */
async function disableGone(trx: Tx, ref: DeliveryRef): Promise<void> {
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
  if (isLast) logger.error({ ...line, error }, 'a webhook was not delivered and waits for a replay')
  else logger.warn({ ...line, error }, 'a webhook was not delivered, to be tried again')
}

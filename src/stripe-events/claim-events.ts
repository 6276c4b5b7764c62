import type { KeyProblem } from '../conferences/unusable-key.ts'
import type { Db, Tx } from '../db/connect.ts'
import { PREPARED } from '../db/pipeline.ts'
import { type Bind, systemStatement, withSystem, withTenant } from '../db/tenant-scope.ts'
import type { FetchTime } from '../mirror/fetch-time.ts'
import type { MirroredObject } from '../mirror/mirror-feed.ts'
import { purchaseIdOfEvent } from '../purchases/purchase-store.ts'
import { AppError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { errorText } from '../stripe/stripe-errors.ts'
import { keyProblemOf, logKeyAlarm, waitForKey } from '../stripe/wait-for-key.ts'
import { rateLimitWaitOf } from '../stripe/wait-for-rate-limit.ts'
import type { Lane } from './classify-event.ts'
import { wakeWorkers } from './event-inbox.ts'

/** After this many attempts, about two hours with back-off, an event fails and waits for staff. */
export const MAX_ATTEMPTS = 20

/** An event that this process may work on until the lease ends. */
export type ClaimedEvent = {
  conferenceId: string
  id: string
  /** With the ids, the key of its row: the time that Stripe created it, as Postgres prints it. */
  createdAt: string
  lane: Lane
  type: string
  /** The number of this attempt. It also identifies the claim: a later claim has another number. */
  attempts: number
  objectId: string | null
  paymentIntentId: string | null
  /** The purchase that the claim query found by our own rows, or null. */
  purchaseId: string | null
  /** The mirror object that the event is about. */
  mirrored: MirroredObject | null
}

type ClaimedRow = {
  conference_id: string
  id: string
  created_at: string
  lane: Lane
  type: string
  attempts: number
  object_id: string | null
  payment_intent_id: string | null
  known_purchase_id: string | null
  mirror_resource: string | null
  mirror_id: string | null
  mirror_after: FetchTime
}

// While an event is leased, `next_attempt_at` is the end of the lease. So one index finds what is
// due, what failed and what a dead worker held. A claim spans all tenants, so each lookup compares
// the conference_id of the event's own row.
// The lane is part of the text, not a binding: each lane has a partial index.
const claimOf = (bind: Bind, { lane, limit, leaseSeconds, except = [] }: Claim) => `
  with due as (
    select conference_id, id, created_at_stripe from stripe_events
    where status = 'pending' and lane = '${lane}' and next_attempt_at <= now()
      and not conference_id = any(${bind(except)}::text[])
    order by next_attempt_at
    limit ${bind(limit)}
    for update skip locked
  ), claimed as (
    update stripe_events e
    set attempts = e.attempts + 1,
        lease_until = now() + make_interval(secs => ${bind(leaseSeconds)}),
        next_attempt_at = now() + make_interval(secs => ${bind(leaseSeconds)})
    from due
    where e.conference_id = due.conference_id and e.id = due.id
      and e.created_at_stripe = due.created_at_stripe
    returning e.conference_id, e.id, e.created_at_stripe::text as created_at, e.lane, e.type, e.attempts, e.object_id,
      e.payment_intent_id, e.purchase_id, e.received_at, e.mirror_resource, e.mirror_id,
      (extract(epoch from coalesce(e.mirror_after, e.received_at)) * 1000000)::bigint as mirror_after
  )
  select c.*, ${purchaseIdOfEvent('c')} as known_purchase_id
  from claimed c
  order by c.received_at, c.id`

type Claim = {
  lane: Lane
  limit: number
  leaseSeconds: number
  /** Conferences whose events are not claimed now. */
  except?: readonly string[]
}

/**
 * Claims due events of a lane, of all tenants, for `leaseSeconds`, longest due first. Workers do not
 * block each other. The events of a dead worker are due again when its lease ends.
 */
export async function claimEvents(db: Db, claim: Claim): Promise<ClaimedEvent[]> {
  const rows = await systemStatement<ClaimedRow>(db, 'claim-events', (bind) => claimOf(bind, claim))
  return rows.map(toClaimed)
}

function toClaimed(row: ClaimedRow): ClaimedEvent {
  return {
    conferenceId: row.conference_id,
    id: row.id,
    createdAt: row.created_at,
    lane: row.lane,
    type: row.type,
    attempts: row.attempts,
    objectId: row.object_id,
    paymentIntentId: row.payment_intent_id,
    purchaseId: row.known_purchase_id,
    mirrored: mirroredObject(row),
  }
}

function mirroredObject(row: ClaimedRow): MirroredObject | null {
  const { mirror_resource: resource, mirror_id: id, mirror_after: after } = row
  return resource === null || id === null ? null : { resource, id, after }
}

/**
 * The events that are still ours: an attempt's number occurs in one claim of a lane, so it tells our claim
 * from a later one. They are found by their primary key: the indexes by status are full of dead rows of
 * events that were pending.
 */
function claimed(trx: Tx, events: readonly ClaimedEvent[]) {
  const row = '(?::text, ?::text, ?::timestamptz, ?::text, ?::integer)'
  const query = trx('stripe_events').options(PREPARED)
  if (events.length === 0) return query.whereRaw('false')
  return query
    .whereRaw(
      `(conference_id, id, created_at_stripe, lane, attempts) in (values ${events.map(() => row).join(', ')})`,
      events.flatMap((event) => [
        event.conferenceId,
        event.id,
        event.createdAt,
        event.lane,
        event.attempts,
      ]),
    )
    .whereRaw(`status || '' = 'pending'`)
}

/** Workers that lock several events lock them in this order. Timers that do not are repeated if they meet one. */
const LOCK_ORDER = ['conference_id', 'id', 'created_at_stripe']

/** Locks the events that are still ours and returns them: another worker may have claimed some. */
export async function lockClaimed(
  trx: Tx,
  events: readonly ClaimedEvent[],
): Promise<ClaimedEvent[]> {
  const locked = claimed(trx, events).orderBy(LOCK_ORDER).forUpdate()
  const rows = await locked.select<{ id: string }[]>('id')
  const ids = new Set(rows.map(({ id }) => id))
  return events.filter(({ id }) => ids.has(id))
}

/** The events that are still ours, locked in the order of `lockClaimed`, to be updated. */
function lockedForUpdate(trx: Tx, events: readonly ClaimedEvent[]) {
  const keys = claimed(trx, events).orderBy(LOCK_ORDER).forUpdate().select(LOCK_ORDER)
  return trx('stripe_events').options(PREPARED).whereIn(LOCK_ORDER, keys)
}

/** Locks and closes the events that are still ours; returns their number. `purchaseId`: they were about it. */
export async function closeClaimed(
  trx: Tx,
  events: readonly ClaimedEvent[],
  end: { status: 'done' | 'ignored'; purchaseId?: string },
): Promise<number> {
  if (events.length === 0) return 0
  return lockedForUpdate(trx, events).update({
    status: end.status,
    ...(end.purchaseId === undefined ? {} : { purchase_id: end.purchaseId }),
    last_error: null,
    lease_until: null,
    finished_at: trx.fn.now(),
  })
}

/**
 * Locks the events that are still ours and moves them to the mirror lane, where attempts are counted from
 * zero; returns their number. `purchaseId` is the purchase that they were applied to.
 */
export async function moveToMirror(
  trx: Tx,
  events: readonly ClaimedEvent[],
  purchaseId?: string,
): Promise<number> {
  if (events.length === 0) return 0
  const count = await lockedForUpdate(trx, events).update({
    lane: 'mirror',
    ...(purchaseId === undefined ? {} : { purchase_id: purchaseId }),
    attempts: 0,
    next_attempt_at: trx.fn.now(),
    last_error: null,
    lease_until: null,
  })
  await wakeWorkers(trx, 'mirror')
  return count
}

/** Records a failed attempt: due again after `waitSeconds`, or `failed` when that is null. */
async function failClaimed(
  trx: Tx,
  events: readonly ClaimedEvent[],
  failure: { error: string; waitSeconds: number | null },
): Promise<number> {
  const { error, waitSeconds } = failure
  return claimed(trx, events).update({
    last_error: error,
    lease_until: null,
    ...(waitSeconds === null
      ? { status: 'failed', finished_at: trx.fn.now() }
      : { next_attempt_at: trx.raw('now() + make_interval(secs => ?)', [waitSeconds]) }),
  })
}

/** Ends an attempt that does not count: due again after `waitSeconds`. Returns the number of events. */
function postponeClaimed(
  trx: Tx,
  events: readonly ClaimedEvent[],
  { error, waitSeconds }: { error: string; waitSeconds: number },
): Promise<number> {
  return lockedForUpdate(trx, events).update({
    attempts: trx.raw('attempts - 1'),
    last_error: error,
    lease_until: null,
    next_attempt_at: trx.raw('now() + make_interval(secs => ?)', [waitSeconds]),
  })
}

/** Extends the lease of events that are still being processed. */
export async function renewClaimed(
  db: Db,
  events: readonly ClaimedEvent[],
  leaseSeconds: number,
): Promise<void> {
  if (events.length === 0) return
  await withSystem(db, 'claim-events', (trx) => {
    const end = trx.raw('now() + make_interval(secs => ?)', [leaseSeconds])
    return lockedForUpdate(trx, events).update({ lease_until: end, next_attempt_at: end })
  })
}

/** Releases events whose processing has not started. The attempt does not count. */
export async function releaseClaimed(db: Db, events: readonly ClaimedEvent[]): Promise<void> {
  if (events.length === 0) return
  await withSystem(db, 'claim-events', (trx) =>
    lockedForUpdate(trx, events).update({
      attempts: trx.raw('attempts - 1'),
      lease_until: null,
      next_attempt_at: trx.fn.now(),
    }),
  )
}

type RetryDeps = { db: Db; logger: Logger; metrics: ServiceMetrics }
const MAX_BACKOFF_SECONDS = 900

/**
 * Runs one attempt of claimed events that belong together. When `work` fails, the error is recorded on
 * the events, and they are retried later with back-off. A failure because of the conference's Stripe key,
 * and a long wait for the account's rate limit, use up no attempt. Throws only when the failure cannot be
 * recorded; then the events are due again when their lease ends.
 *
 * @param work - returns the number of events that it closed.
 * @param isFinal - true for an error that every retry would meet again: the events fail immediately.
 */
export async function runWithRetry(
  deps: RetryDeps,
  events: readonly ClaimedEvent[],
  work: () => Promise<number>,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<void> {
  const startedAt = performance.now()
  const report = (outcome: 'done' | 'retried' | 'failed', count: number) => {
    for (let i = 0; i < count; i += 1)
      deps.metrics.eventHandled(outcome, (performance.now() - startedAt) / 1000)
  }
  try {
    if (events.some(({ attempts }) => attempts > MAX_ATTEMPTS)) {
      throw new Error(
        'No attempt to process this event finished: each worker died or lost its lease.',
      )
    }
    report('done', await work())
  } catch (error) {
    const problem = keyProblemOf(error)
    if (problem !== null) {
      const elapsedSeconds = (performance.now() - startedAt) / 1000
      report('retried', await recordKeyFailure(deps, events, { problem, error, elapsedSeconds }))
      return
    }
    const waitSeconds = rateLimitWaitOf(error)
    if (waitSeconds !== null) {
      report('retried', await recordRateLimit(deps, events, { error, waitSeconds }))
      return
    }
    const { failed, retried } = await recordFailure(deps, events, error, isFinal(error))
    report('failed', failed)
    report('retried', retried)
  }
}

/** The events wait for a valid key of their conference, all in one commit. Returns their number. */
async function recordKeyFailure(
  { db, logger }: RetryDeps,
  events: readonly ClaimedEvent[],
  failed: { problem: KeyProblem; error: unknown; elapsedSeconds: number },
): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  const failure = { conferenceId: first.conferenceId, ...failed }
  const { unusable, count } = await withTenant(db, first, async (trx) => {
    const unusable = await waitForKey(trx, failure)
    const wait = { error: lastErrorOf(first, failed.error), waitSeconds: unusable.waitSeconds }
    return { unusable, count: await postponeClaimed(trx, events, wait) }
  })
  logKeyAlarm(logger, failure, unusable)
  logger.warn(
    {
      conference: first.conferenceId,
      events: events.map(({ id }) => id),
      error: errorText(failure.error),
    },
    'events wait for a valid Stripe key',
  )
  return count
}

/** The events are due when the rate limit of the account allows a request. Returns their number. */
async function recordRateLimit(
  { db, logger }: RetryDeps,
  events: readonly ClaimedEvent[],
  { error, waitSeconds }: { error: unknown; waitSeconds: number },
): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  const { conferenceId: conference } = first
  const ids = events.map(({ id }) => id)
  logger.info({ conference, events: ids, waitSeconds }, "events wait for the account's rate limit")
  const wait = { error: lastErrorOf(first, error), waitSeconds }
  return withTenant(db, first, (trx) => postponeClaimed(trx, events, wait))
}

/** 1, 2, 4 … seconds, at most 15 minutes, or longer when Stripe sent a longer `Retry-After`. */
function backoffSeconds(attempts: number, error: unknown): number {
  const requested = error instanceof AppError ? (error.retryAfterSeconds ?? 0) : 0
  return Math.max(Math.min(2 ** (attempts - 1), MAX_BACKOFF_SECONDS), requested)
}

/** The prefix `mirror: ` shows staff that no purchase depends on this event. */
function lastErrorOf({ lane }: ClaimedEvent, error: unknown): string {
  return lane === 'mirror' ? `mirror: ${errorText(error)}` : errorText(error)
}

async function recordFailure(
  deps: RetryDeps,
  events: readonly ClaimedEvent[],
  error: unknown,
  isFinal: boolean,
): Promise<{ failed: number; retried: number }> {
  const counts = { failed: 0, retried: 0 }
  for (const event of events) {
    const text = lastErrorOf(event, error)
    const isLast = isFinal || event.attempts >= MAX_ATTEMPTS
    const written = await withTenant(deps.db, event, (trx) =>
      failClaimed(trx, [event], {
        error: text,
        waitSeconds: isLast ? null : backoffSeconds(event.attempts, error),
      }),
    )
    if (written === 0) continue
    const line = { conference: event.conferenceId, event: event.id, type: event.type, error: text }
    if (isLast) deps.logger.error(line, 'event failed on its last attempt')
    else deps.logger.warn({ ...line, attempt: event.attempts }, 'event failed; it will be retried')
    counts[isLast ? 'failed' : 'retried'] += 1
  }
  return counts
}

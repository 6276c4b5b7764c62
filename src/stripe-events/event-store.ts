import type { Db, Tx } from '../db/connect.ts'
import { updateInBatches } from '../db/delete-in-batches.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { type EventHints, HANDLED_TYPES, parseEvent } from './classify-event.ts'

/** Postgres channel on which workers wait for due events. The messages are empty. */
export const WAKE_CHANNEL = 'stripe_events'

/** Makes every worker look for due events when the transaction commits. */
export async function wakeWorkers(trx: Tx): Promise<void> {
  await trx.raw(`select pg_notify(?, '')`, [WAKE_CHANNEL])
}

/** Which of these events of a conference are already stored. */
export async function findStoredEventIds(
  db: Db,
  conferenceId: string,
  ids: readonly string[],
): Promise<Set<string>> {
  const rows = await withTenant(db, { conferenceId }, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId })
      .whereIn('id', [...ids])
      .select<{ id: string }[]>('id'),
  )
  return new Set(rows.map(({ id }) => id))
}

/** The hints in a stored event's body. Null when they cannot be read, or the body was deleted. */
export async function loadEventHints(
  db: Db,
  { conferenceId, id }: { conferenceId: string; id: string },
): Promise<EventHints | null> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx('stripe_events')
      .where({ conference_id: conferenceId, id })
      .first<{ body: Buffer | null } | undefined>('body'),
  )
  return row?.body ? parseEvent(row.body) : null
}

/** The values of the table's check constraint. */
export const EVENT_STATUSES = ['pending', 'done', 'ignored', 'failed'] as const

export type EventStatus = (typeof EVENT_STATUSES)[number]

/** An event without its body. */
export type EventRow = {
  id: string
  type: string
  livemode: boolean
  api_version: string | null
  status: EventStatus
  attempts: number
  next_attempt_at: Date
  last_error: string | null
  source: 'webhook' | 'missed' | 'replay'
  purchase_id: string | null
  created_at_stripe: Date
  received_at: Date
  finished_at: Date | null
}

const COLUMNS = [
  'id',
  'type',
  'livemode',
  'api_version',
  'status',
  'attempts',
  'next_attempt_at',
  'last_error',
  'source',
  'purchase_id',
  'created_at_stripe',
  'received_at',
  'finished_at',
] as const satisfies readonly (keyof EventRow)[]

export type EventFilter = { status?: EventStatus | undefined; type?: string | undefined }

/** The events of a conference, newest first. */
export function listEvents(
  trx: Tx,
  conferenceId: string,
  filter: EventFilter,
  page: PageQuery,
): Promise<Page<EventRow>> {
  const query = trx('stripe_events').where({
    conference_id: conferenceId,
    ...(filter.status === undefined ? {} : { status: filter.status }),
    ...(filter.type === undefined ? {} : { type: filter.type }),
  })
  return fetchPage(query.select([...COLUMNS]), page, { at: 'received_at', id: 'id' })
}

function toPending(trx: Tx) {
  return {
    status: 'pending',
    source: 'replay',
    attempts: 0,
    next_attempt_at: trx.fn.now(),
    lease_until: null,
    finished_at: null,
    lane: trx.raw(`case when type = any(?) then 'purchase' else lane end`, [[...HANDLED_TYPES]]),
    // A replay also calls the hooks again.
    hooked_at: null,
    // A fetch from before the replay is not new enough.
    mirror_after: trx.fn.now(),
  }
}

/**
 * Makes an event due again that is done, ignored or failed. This is always safe: processing an event
 * only fetches its objects from Stripe.
 *
 * @throws AppError `not_found`; `wrong_state` while it is pending, or after its body was deleted.
 */
export async function replayEvent(trx: Tx, conferenceId: string, id: string): Promise<EventRow> {
  const [row] = await trx('stripe_events')
    .where({ conference_id: conferenceId, id })
    .whereNot({ status: 'pending' })
    .whereNotNull('body')
    .update(toPending(trx))
    .returning<EventRow[]>([...COLUMNS])
  if (row !== undefined) {
    await wakeWorkers(trx)
    return row
  }
  const known = await trx('stripe_events')
    .where({ conference_id: conferenceId, id })
    .first<{ status: EventStatus } | undefined>('status')
  if (known === undefined) throw notFound('event')
  if (known.status !== 'pending') {
    throw new AppError(
      'wrong_state',
      'The event is too old to be replayed: its body was deleted after the retention time.',
      { extra: { state: known.status, allowed_actions: [] } },
    )
  }
  throw new AppError('wrong_state', 'The event is pending and needs no replay.', {
    extra: { state: 'pending', allowed_actions: [] },
  })
}

/** Makes every failed event of the conference due again. Returns their number. */
export async function replayFailed(trx: Tx, conferenceId: string): Promise<number> {
  const count = await trx('stripe_events')
    .where({ conference_id: conferenceId, status: 'failed' })
    .update(toPending(trx))
  if (count > 0) await wakeWorkers(trx)
  return count
}

/**
 * Deletes the bodies of events that were handled more than so many days ago, because they contain data
 * of payers. The events stay, so that duplicates are recognised. @returns their number.
 */
export function deleteOldBodies(db: Db, days: number): Promise<number> {
  const condition = `body is not null and status in ('done', 'ignored')
    and finished_at < now() - interval '${days} days'`
  return updateInBatches(db, 'stripe_events', condition, { body: null })
}

export type LaneCounts = {
  lane: 'purchase' | 'mirror'
  pending: number
  retrying: number
  failed: number
  /** Age of the oldest pending event. Seconds. */
  lag: number
}

/** The number of unfinished events of all conferences in each lane, for the metrics. */
export async function countEventsByLane(trx: Tx): Promise<LaneCounts[]> {
  const { rows } = await trx.raw<{ rows: LaneCounts[] }>(`
    select lane,
      count(*) filter (where status = 'pending') as pending,
      count(*) filter (where status = 'pending' and last_error is not null) as retrying,
      count(*) filter (where status = 'failed') as failed,
      coalesce(greatest(extract(epoch from
        now() - min(received_at) filter (where status = 'pending')), 0), 0)::float8 as lag
    from (
      select lane, status, last_error, received_at from stripe_events where status = 'pending'
      union all
      select lane, status, last_error, received_at from stripe_events where status = 'failed'
      union all
      select lane, null, null, null from unnest(array['purchase', 'mirror']) as lane
    ) as open
    group by lane`)
  return rows
}

import { outdatedVerifications, type Verification } from '../conferences/stripe-credentials.ts'
import type { Db, Tx } from '../db/connect.ts'
import { DELETE_BATCH_SIZE } from '../db/delete-in-batches.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { maintainPartitions } from '../db/partitions.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import { type Bind, systemStatement, withSystem, withTenant } from '../db/tenant-scope.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { inGroups } from '../shared/in-groups.ts'
import type { Logger } from '../shared/logger.ts'
import {
  type EventHints,
  HANDLED_TYPES,
  type IncomingEvent,
  type Lane,
  parseEvent,
} from './classify-event.ts'

/** Maximum number of events in one insert. Larger groups bring no further gain. */
const GROUP_EVENTS = 100
/** Maximum size of all bodies in one insert, in bytes. */
const GROUP_BYTES = 4 * 1024 * 1024

/** `outdated`: what verified the event no longer holds. Then this call has not stored it. */
export type StoreResult = 'new' | 'duplicate' | 'outdated'

export type EventInbox = {
  /**
   * Resolves after the commit.
   *
   * @param by absent: Stripe's API returned the event.
   * @throws the database's error; the event is not stored then.
   */
  store(event: IncomingEvent, by?: Verification): Promise<StoreResult>
}

type Item = { event: IncomingEvent; by: Verification | undefined }

/**
 * Stores events durably. Events that arrive while two groups are being inserted share the next insert.
 * On two cores this stores several times as many events per second as one insert per event
 * (bench/inbox.ts).
 */
export function createEventInbox(deps: { db: Db; logger: Pick<Logger, 'warn'> }): EventInbox {
  const store = inGroups<Item, StoreResult>({
    run: (items) => storeEvents(deps.db, items),
    // While one waits for the disk, the next one is prepared.
    inFlight: 2,
    sizeOf: sizeOfGroup,
    splits: (error, items) => {
      if (isDatabaseUnavailable(error)) return false
      deps.logger.warn(
        { events: items.length },
        'could not store a group of events; storing them one by one',
      )
      return true
    },
  })
  return { store: (event, by) => store({ event, by }) }
}

function sizeOfGroup(waiting: readonly Item[]): number {
  let bytes = 0
  const size = waiting.findIndex(({ event }, index) => {
    bytes += event.body.length
    return index > 0 && (index >= GROUP_EVENTS || bytes > GROUP_BYTES)
  })
  return size === -1 ? waiting.length : size
}

/** Postgres channel on which workers wait for due events. A message names their lanes; empty: all. */
export const WAKE_CHANNEL = 'stripe_events'

/** What verified events; `numbers` has the place of each event's verification from 1, or 0 for none. */
type Verified = { verifications: readonly Verification[]; numbers: readonly number[] }

/**
 * SQL that stores events and wakes the workers once. It checks in the same snapshot that what verified them
 * still holds, so a conference that a process remembers accepts nothing that it would refuse now. The order
 * of the rows prevents a deadlock between two groups with the same events.
 */
export const insertOf = (bind: Bind, events: readonly IncomingEvent[], verified?: Verified) => {
  const { verifications, numbers } = verified ?? { verifications: [], numbers: events.map(() => 0) }
  const column = (name: Exclude<keyof IncomingEvent, 'body'>) =>
    bind(events.map((event) => event[name]))
  // One value, since pg sends a buffer as bytes and an array of buffers as text.
  const bodies = bind(Buffer.concat(events.map(({ body }) => body)))
  let end = 1
  const starts = events.map(({ body }) => (end += body.length) - body.length)
  return `
  with outdated as (${outdatedVerifications(bind, verifications)}
  ), given as (
    select conference_id, id, type, livemode, api_version,
      substring(${bodies}::bytea from body_start for body_length), object_id, payment_intent_id,
      purchase_id, lane, mirror_resource, mirror_id, source, status, created_at_stripe
    from unnest(
      ${column('conferenceId')}::text[], ${column('id')}::text[], ${column('type')}::text[],
      ${column('livemode')}::boolean[], ${column('apiVersion')}::text[],
      ${bind(starts)}::integer[], ${bind(events.map(({ body }) => body.length))}::integer[],
      ${column('objectId')}::text[], ${column('paymentIntentId')}::text[],
      ${column('purchaseId')}::text[], ${column('lane')}::text[],
      ${column('mirrorResource')}::text[], ${column('mirrorId')}::text[],
      ${column('source')}::text[], ${column('status')}::text[],
      ${column('createdAtStripe')}::timestamptz[], ${bind(numbers)}::integer[]
    ) as event (conference_id, id, type, livemode, api_version, body_start, body_length,
      object_id, payment_intent_id, purchase_id, lane, mirror_resource, mirror_id, source, status,
      created_at_stripe, verification)
    where not verification = any(array(select number from outdated))
  ), inserted as (
    insert into stripe_events (conference_id, id, type, livemode, api_version, body, object_id,
      payment_intent_id, purchase_id, lane, mirror_resource, mirror_id, source, status,
      created_at_stripe, finished_at)
    select given.*, case when status = 'ignored' then now() end from given
    order by conference_id, id
    on conflict do nothing
    returning conference_id, id, status, lane
  )
  select conference_id, id, (
    select pg_notify('${WAKE_CHANNEL}', string_agg(distinct lane, ','))
    from inserted where status = 'pending' having count(*) > 0
  ) as woken, null as outdated
  from inserted
  union all select null, null, null, number from outdated`
}

/** Identifies an event. The id is not enough: each conference keeps its own copy of an event. */
function eventKey(event: { conferenceId: string; id: string }): string {
  return `${event.conferenceId} ${event.id}`
}

type StoredRow =
  | { conference_id: string; id: string; outdated: null }
  | { conference_id: null; id: null; outdated: number }

/**
 * Stores events and wakes the workers once, in one round trip. Events that are already stored stay
 * unchanged.
 */
async function storeEvents(db: Db, items: readonly Item[]): Promise<StoreResult[]> {
  const verifications = [
    ...new Map(items.flatMap(({ by }) => (by === undefined ? [] : [[by.secret, by]]))).values(),
  ]
  const secrets = verifications.map(({ secret }) => secret)
  const numbers = items.map(({ by }) => (by === undefined ? 0 : secrets.indexOf(by.secret) + 1))
  const events = items.map(({ event }) => event)
  const rows = await systemStatement<StoredRow>(db, 'store-events', (bind) =>
    insertOf(bind, events, { verifications, numbers }),
  )
  const added = new Set<string>()
  const outdated = new Set<number>()
  for (const row of rows) {
    if (row.outdated === null) added.add(eventKey({ conferenceId: row.conference_id, id: row.id }))
    else outdated.add(row.outdated)
  }
  return events.map((event, index) => {
    if (outdated.has(numbers[index] ?? 0)) return 'outdated'
    // Two deliveries of one event may be in the same group: only the first one is new.
    return added.delete(eventKey(event)) ? 'new' : 'duplicate'
  })
}

/** Makes workers look for due events when the transaction commits. @param lane absent: of all lanes. */
export async function wakeWorkers(trx: Tx, lane: Lane | '' = ''): Promise<void> {
  await trx.raw('select pg_notify(?, ?)', [WAKE_CHANNEL, lane])
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

/** Drops handled events by month (decision 36). @returns the dropped partitions. */
export function dropOldEvents(db: Db, days: number | null): Promise<string[]> {
  return maintainPartitions(db, EVENT_PARTITIONS, days)
}

/** Stripe's `created` is signed and never changes, so all copies of an event belong to the same partition. */
const EVENT_PARTITIONS = {
  table: 'stripe_events',
  column: 'created_at_stripe',
  kept: `status in ('pending', 'failed')`,
} as const

/**
 * Deletes the bodies of events that were handled more than so many days ago, because they contain data
 * of payers. The events stay until their month is dropped. @returns their number.
 */
export async function deleteOldBodies(db: Db, days: number): Promise<number> {
  let total = 0
  let until: string | null = '-infinity'
  while (until !== null) {
    const after: string = until
    await withSystem(db, 'partitions', async (trx) => {
      until = await endOfBatch(trx, after, days)
      if (until !== null) total += await emptyBodies(trx, after, until)
    })
  }
  return total
}

/** SQL as in the index. It keeps the entries of emptied rows for long; a batch begins after the last one, to not read them again. */
const WITH_BODY = `body is not null and status in ('done', 'ignored') and finished_at > ?::timestamptz`

async function endOfBatch(trx: Tx, after: string, days: number): Promise<string | null> {
  // Otherwise Postgres reads and sorts all old rows for each batch: by row security it expects few.
  await trx.raw('set local enable_sort = off; set local enable_bitmapscan = off')
  const { rows } = await trx.raw<{ rows: [{ until: string | null }] }>(
    `select max(finished_at)::text as until from (
       select finished_at from stripe_events
       where ${WITH_BODY} and finished_at < now() - make_interval(days => ?)
       order by finished_at limit ?) as oldest`,
    [after, days, DELETE_BATCH_SIZE],
  )
  return rows[0].until
}

/** By time, not by key: to find 5,000 keys, Postgres would read every partition. */
const emptyBodies = (trx: Tx, after: string, until: string): Promise<number> =>
  trx('stripe_events')
    .whereRaw(`${WITH_BODY} and finished_at <= ?::timestamptz`, [after, until])
    .update({ body: null })

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

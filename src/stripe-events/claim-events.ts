import type { Db, Tx } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type { FetchTime } from '../mirror/fetch-time.ts'
import type { Reference } from '../mirror/stripe-resource.ts'
import type { Lane } from './classify-event.ts'
import { wakeWorkers } from './event-store.ts'

/** After so many tries an event waits for staff: with the back-off that is about two hours. */
export const MAX_ATTEMPTS = 20

/** An event that this process works on until its lease ends. */
export type ClaimedEvent = {
  conferenceId: string
  id: string
  lane: Lane
  type: string
  /** This try's number; it also tells whether the event is still ours. */
  attempts: number
  objectId: string | null
  paymentIntentId: string | null
  /** The purchase of this conference that our own rows lead to. */
  purchaseId: string | null
  /** The object of the mirror that it is about, and since when a reading of it is new enough. */
  mirrored: MirroredObject | null
}

export type MirroredObject = Reference & { after: FetchTime }

type ClaimedRow = {
  conference_id: string
  id: string
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

// While leased, `next_attempt_at` is the lease's end: one index finds what is due, what failed and
// what a dead worker held. Tenants are kept apart by hand here, since a claim spans all of them:
// every look-up has the event's own conference_id in it.
// The lane is written into the text: each has an index that only its own name leads to.
const claimOf = (lane: Lane) => `
  with due as (
    select conference_id, id from stripe_events
    where status = 'pending' and lane = '${lane}' and next_attempt_at <= now()
      and not conference_id = any(?)
    order by next_attempt_at
    limit ?
    for update skip locked
  ), claimed as (
    update stripe_events e
    set attempts = e.attempts + 1,
        lease_until = now() + make_interval(secs => ?),
        next_attempt_at = now() + make_interval(secs => ?)
    from due
    where e.conference_id = due.conference_id and e.id = due.id
    returning e.conference_id, e.id, e.lane, e.type, e.attempts, e.object_id,
      e.payment_intent_id, e.purchase_id, e.received_at, e.mirror_resource, e.mirror_id,
      (extract(epoch from coalesce(e.mirror_after, e.received_at)) * 1000000)::bigint
        as mirror_after
  )
  select c.*, coalesce(
    (select p.id from bulk_purchases p
      where p.conference_id = c.conference_id and p.id = c.purchase_id),
    (select a.purchase_id from checkout_attempts a
      where a.conference_id = c.conference_id and a.session_id = c.object_id),
    (select m.purchase_id from purchase_payments m
      where m.conference_id = c.conference_id and m.payment_intent_id = c.payment_intent_id)
  ) as known_purchase_id
  from claimed c
  order by c.received_at, c.id`

function toClaimed(row: ClaimedRow): ClaimedEvent {
  return {
    conferenceId: row.conference_id,
    id: row.id,
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
 * Claims due events of a lane, of all tenants, for `leaseSeconds`, longest due first. Workers do not
 * wait for each other, and what a dead one held is due again when its lease ends.
 *
 * @param options.except - conferences whose events are left to others for now.
 */
export function claimEvents(
  db: Db,
  options: { lane: Lane; limit: number; leaseSeconds: number; except?: readonly string[] },
): Promise<ClaimedEvent[]> {
  const { lane, limit, leaseSeconds, except = [] } = options
  return withSystem(db, 'claim-events', async (trx) => {
    const { rows } = await trx.raw<{ rows: ClaimedRow[] }>(claimOf(lane), [
      [...except],
      limit,
      leaseSeconds,
      leaseSeconds,
    ])
    return rows.map(toClaimed)
  })
}

/**
 * Puts events together that one reading of Stripe can settle: those of one purchase. One whose
 * purchase we do not know yet goes with the others of its payment.
 */
export function groupByPurchase(events: readonly ClaimedEvent[]): ClaimedEvent[][] {
  return groupBy(events, purchaseKey)
}

/** The same for the mirror: the events of one object. */
export function groupByObject(events: readonly ClaimedEvent[]): ClaimedEvent[][] {
  return groupBy(events, objectKey)
}

/** Names what an event waits for, among all conferences. */
function purchaseKey(event: ClaimedEvent): string {
  return `${event.conferenceId} ${event.purchaseId ?? event.paymentIntentId ?? event.id}`
}

/** The same for the mirror. */
export function objectKey({ conferenceId, mirrored, id }: ClaimedEvent): string {
  return `${conferenceId} ${mirrored === null ? id : `${mirrored.resource} ${mirrored.id}`}`
}

function groupBy(
  events: readonly ClaimedEvent[],
  keyOf: (event: ClaimedEvent) => string,
): ClaimedEvent[][] {
  const groups = new Map<string, ClaimedEvent[]>()
  for (const event of events) {
    const key = keyOf(event)
    groups.set(key, [...(groups.get(key) ?? []), event])
  }
  return [...groups.values()]
}

// The attempt's number belongs to one claim of a lane only, so it tells ours from a later one.
const STILL_OURS = `status = 'pending' and (conference_id, id, lane, attempts) in (
  select * from unnest(?::text[], ?::text[], ?::text[], ?::integer[]))`

function claimed(trx: Tx, events: readonly ClaimedEvent[]) {
  return trx('stripe_events').whereRaw(STILL_OURS, [
    events.map(({ conferenceId }) => conferenceId),
    events.map(({ id }) => id),
    events.map(({ lane }) => lane),
    events.map(({ attempts }) => attempts),
  ])
}

/** What is left of a claim after another worker took some of it over. Locks the rows. */
export async function lockClaimed(
  trx: Tx,
  events: readonly ClaimedEvent[],
): Promise<ClaimedEvent[]> {
  const rows = await claimed(trx, events).orderBy('id').forUpdate().select<{ id: string }[]>('id')
  const ids = new Set(rows.map(({ id }) => id))
  return events.filter(({ id }) => ids.has(id))
}

/** Closes events. `purchaseId`: what they turned out to be about. */
export async function closeClaimed(
  trx: Tx,
  events: readonly ClaimedEvent[],
  end: { status: 'done' | 'ignored'; purchaseId?: string },
): Promise<number> {
  if (events.length === 0) return 0
  return claimed(trx, events).update({
    status: end.status,
    ...(end.purchaseId === undefined ? {} : { purchase_id: end.purchaseId }),
    last_error: null,
    lease_until: null,
    finished_at: trx.fn.now(),
  })
}

/**
 * Hands events over to the mirror, whose tries are counted anew. `purchaseId`: the purchase that is
 * done with them.
 */
export async function moveToMirror(
  trx: Tx,
  events: readonly ClaimedEvent[],
  purchaseId?: string,
): Promise<void> {
  if (events.length === 0) return
  await claimed(trx, events).update({
    lane: 'mirror',
    ...(purchaseId === undefined ? {} : { purchase_id: purchaseId }),
    attempts: 0,
    next_attempt_at: trx.fn.now(),
    last_error: null,
    lease_until: null,
  })
  await wakeWorkers(trx)
}

/** A failed try: due again after `waitSeconds`, or `failed` for good. */
export async function failClaimed(
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

/** Keeps events that are still being worked on from being taken over. */
export async function renewClaimed(
  db: Db,
  events: readonly ClaimedEvent[],
  leaseSeconds: number,
): Promise<void> {
  if (events.length === 0) return
  await withSystem(db, 'claim-events', (trx) => {
    const end = trx.raw('now() + make_interval(secs => ?)', [leaseSeconds])
    return claimed(trx, events).update({ lease_until: end, next_attempt_at: end })
  })
}

/** Gives events back that nobody has begun to work on; the try does not count. */
export async function releaseClaimed(db: Db, events: readonly ClaimedEvent[]): Promise<void> {
  if (events.length === 0) return
  await withSystem(db, 'claim-events', (trx) =>
    claimed(trx, events).update({
      attempts: trx.raw('attempts - 1'),
      lease_until: null,
      next_attempt_at: trx.fn.now(),
    }),
  )
}

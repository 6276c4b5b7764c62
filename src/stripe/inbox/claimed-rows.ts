import type { Db, Tx } from '../../db/connect.ts'
import { withSystem } from '../../db/tenant-scope.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { wakeWorkers } from './insert-events.ts'

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

import type { Db } from '../../db/connect.ts'
import { withSystem } from '../../db/tenant-scope.ts'

/** After so many tries an event waits for staff: with the back-off that is about two hours. */
export const MAX_ATTEMPTS = 20

/** An event that this process works on until its lease ends. */
export type ClaimedEvent = {
  conferenceId: string
  id: string
  type: string
  /** This try's number; it also tells whether the event is still ours. */
  attempts: number
  objectId: string | null
  paymentIntentId: string | null
  /** The purchase of this conference that our own rows lead to. */
  purchaseId: string | null
}

type ClaimedRow = {
  conference_id: string
  id: string
  type: string
  attempts: number
  object_id: string | null
  payment_intent_id: string | null
  known_purchase_id: string | null
}

// While leased, `next_attempt_at` is the lease's end: one index finds what is due, what failed and
// what a dead worker held. Tenants are kept apart by hand here, since a claim spans all of them:
// every look-up has the event's own conference_id in it.
const CLAIM = `
  with due as (
    select conference_id, id from stripe_events
    where status = 'pending' and next_attempt_at <= now()
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
    returning e.conference_id, e.id, e.type, e.attempts, e.object_id, e.payment_intent_id,
      e.purchase_id, e.received_at
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
    type: row.type,
    attempts: row.attempts,
    objectId: row.object_id,
    paymentIntentId: row.payment_intent_id,
    purchaseId: row.known_purchase_id,
  }
}

/**
 * Claims due events of all tenants for `leaseSeconds`, longest due first. Workers do not wait for
 * each other, and what a dead one held is due again when its lease ends.
 */
export function claimEvents(
  db: Db,
  options: { limit: number; leaseSeconds: number },
): Promise<ClaimedEvent[]> {
  const { limit, leaseSeconds } = options
  return withSystem(db, 'claim-events', async (trx) => {
    const { rows } = await trx.raw<{ rows: ClaimedRow[] }>(CLAIM, [
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
export function groupByPurchase(events: ClaimedEvent[]): ClaimedEvent[][] {
  const groups = new Map<string, ClaimedEvent[]>()
  for (const event of events) {
    const subject = event.purchaseId ?? event.paymentIntentId ?? event.id
    const key = `${event.conferenceId} ${subject}`
    groups.set(key, [...(groups.get(key) ?? []), event])
  }
  return [...groups.values()]
}

import type { Tx } from '../db/connect.ts'
import { MAX_ATTEMPTS } from './claim-events.ts'
import { HANDLED_TYPES } from './classify-event.ts'
import { wakeWorkers } from './event-inbox.ts'

/**
 * Makes the events of a conference due now that failed before and wait for their next attempt. Events
 * that a worker holds are left to it. Returns their number.
 */
export async function retryWaitingEvents(trx: Tx, conferenceId: string): Promise<number> {
  const count = await trx('stripe_events')
    .where({ conference_id: conferenceId, status: 'pending', lease_until: null })
    .whereRaw('next_attempt_at > now()')
    .update({ next_attempt_at: trx.fn.now() })
  if (count > 0) await wakeWorkers(trx)
  return count
}

const MAX_SWEPT_EVENTS = 500

/**
 * Gives failed events of purchases and charges one more attempt: an outage of Stripe may last longer than
 * the attempts of an event, and a refund or a dispute of a PAID purchase has no other trigger. The wait
 * before each attempt is a quarter of the time since the event arrived, at least `afterSeconds` and at
 * most six hours. Events older than 30 days stay failed. Oldest failures first.
 *
 * @param trx of a system task: the sweep covers all conferences.
 * @returns their number.
 */
export async function sweepFailedEvents(trx: Tx, afterSeconds: number): Promise<number> {
  const { rows } = await trx.raw<{ rows: unknown[] }>(
    `with due as (
       select conference_id, id from stripe_events
       where status = 'failed' and lane = 'purchase' and type = any(?)
         and received_at > now() - interval '30 days'
         and finished_at < now() - least(interval '6 hours',
           greatest(make_interval(secs => ?), (finished_at - received_at) / 4))
       order by finished_at
       limit ?
       for update skip locked
     )
     update stripe_events e
     set status = 'pending', attempts = ?, next_attempt_at = now(), finished_at = null
     from due where e.conference_id = due.conference_id and e.id = due.id
     returning e.id`,
    [[...HANDLED_TYPES], afterSeconds, MAX_SWEPT_EVENTS, MAX_ATTEMPTS - 1],
  )
  if (rows.length > 0) await wakeWorkers(trx)
  return rows.length
}

import type { Tx } from '../db/connect.ts'
import { pendingJob } from '../jobs/job-queue.ts'
import type { PaymentOwner } from './payment-records.ts'

type OwnerKind = PaymentOwner['kind']

/** The jobs that finish what a request left, by owner: their keys tell whether one is waiting. */
const JOB_KEYS = {
  purchase: { attempt: 'finish_attempt:', refund: 'finish_refund:' },
  charge: { attempt: 'finish_charge_attempt:', refund: 'finish_charge_refund:' },
} as const satisfies Record<OwnerKind, { attempt: string; refund: string }>

export type StaleAttempt = { conferenceId: string; ownerId: string; attempt: number }

/**
 * Attempts that no request continues any more, oldest first, without those that have a job: one whose
 * session or intent is unknown for this long, and one of a saved card that nobody confirmed or whose
 * confirmation got no answer.
 *
 * @param trx of a system task: it covers all conferences.
 */
export function findStaleAttempts(
  trx: Tx,
  kind: OwnerKind,
  afterSeconds: number,
  limit: number,
): Promise<StaleAttempt[]> {
  return trx('payment_attempts as a')
    .whereNotNull(`a.${kind}_id`)
    .where((either) => {
      void either
        .where((unknown) => {
          void unknown
            .where('a.state', 'creating')
            .whereRaw(`a.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
        })
        // Each confirmation updates the row, so only created_at tells.
        .orWhere((card) => {
          void card
            .where({ 'a.kind': 'saved_card', 'a.state': 'open' })
            .whereRaw(`a.created_at < now() - make_interval(secs => ?)`, [afterSeconds])
        })
    })
    .whereNotExists(
      pendingJob(trx, `'${JOB_KEYS[kind].attempt}' || a.owner_id || ':' || a.attempt`),
    )
    .orderBy('a.created_at')
    .limit(limit)
    .select<StaleAttempt[]>(
      'a.conference_id as conferenceId',
      'a.owner_id as ownerId',
      'a.attempt as attempt',
    )
}

/** Webhooks report changes of an open payment page, so it is fetched only once in this time. */
export const OPEN_PAGE_SECONDS = 3_600

/**
 * SQL for whether an owner waits for Stripe: a payment is processing, or a payment page is open, and
 * neither was fetched for `:after` seconds, an open page for `:open` seconds.
 *
 * @param owner - alias of a row with conference_id, id and reconciled_at.
 */
export const waitsForStripe = (owner: string) => `exists (
  select from payment_attempts a
  where a.conference_id = ${owner}.conference_id and a.owner_id = ${owner}.id
    and (a.state = 'processing' or (a.state = 'open' and a.kind = 'checkout'))
    and greatest(a.updated_at, ${owner}.reconciled_at) < now() - make_interval(secs =>
      case when a.state = 'open' and a.expires_at > now() then :open::int else :after::int end))`

export type UnansweredRefund = { conferenceId: string; ownerId: string; id: string }

/** Refund requests whose outcome is unknown for this long, oldest first, without those that have a job. */
export function findUnansweredRefunds(
  trx: Tx,
  kind: OwnerKind,
  afterSeconds: number,
  limit: number,
): Promise<UnansweredRefund[]> {
  return trx('refund_requests as r')
    .whereNotNull(`r.${kind}_id`)
    .where('r.state', 'requested')
    .whereRaw(`r.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
    .whereNotExists(pendingJob(trx, `'${JOB_KEYS[kind].refund}' || r.id`))
    .orderBy('r.created_at')
    .limit(limit)
    .select<UnansweredRefund[]>(
      'r.conference_id as conferenceId',
      'r.owner_id as ownerId',
      'r.id as id',
    )
}

import type { Tx } from '../db/connect.ts'
import { addJob, pendingJob } from '../jobs/job-queue.ts'
import type { PaymentOwner } from './payment-records.ts'

type OwnerKind = PaymentOwner['kind']
type StaleAttempt = { conferenceId: string; ownerId: string; attempt: number }
type UnansweredRefund = { conferenceId: string; ownerId: string; id: string }

/**
 * Jobs that one sweep adds at most, by kind: enough for 1,000 purchases a minute at the default settings,
 * and few enough that the transaction takes well under a second.
 */
export const MAX_SWEEP_JOBS = 500

/** The jobs that finish what a request left, by owner: their keys tell whether one is waiting. */
const JOBS = {
  purchase: {
    attemptKey: 'finish_attempt:',
    refundKey: 'finish_refund:',
    finishAttempt: (trx: Tx, { conferenceId, ownerId, attempt }: StaleAttempt) =>
      addJob(trx, 'finish_attempt', {
        conference_id: conferenceId,
        purchase_id: ownerId,
        attempt,
      }),
    finishRefund: (trx: Tx, { conferenceId, ownerId, id }: UnansweredRefund) =>
      addJob(trx, 'finish_refund', { conference_id: conferenceId, purchase_id: ownerId, id }),
  },
  charge: {
    attemptKey: 'finish_charge_attempt:',
    refundKey: 'finish_charge_refund:',
    finishAttempt: (trx: Tx, { conferenceId, ownerId, attempt }: StaleAttempt) =>
      addJob(trx, 'finish_charge_attempt', {
        conference_id: conferenceId,
        charge_id: ownerId,
        attempt,
      }),
    finishRefund: (trx: Tx, { conferenceId, ownerId, id }: UnansweredRefund) =>
      addJob(trx, 'finish_charge_refund', { conference_id: conferenceId, charge_id: ownerId, id }),
  },
} as const

/**
 * Adds a job for each attempt that no request continues, and for each refund request whose outcome at
 * Stripe is unknown, for longer than `afterSeconds`. Oldest first. Rows that have a pending job are
 * skipped, so that rows which fail repeatedly do not block the others. No job charges a card.
 *
 * @param trx of a system task: it covers all conferences.
 * @returns how many jobs it added.
 */
export async function sweepPayments(
  trx: Tx,
  kind: OwnerKind,
  afterSeconds: number,
): Promise<{ attempts: number; refunds: number }> {
  const attempts = await findStaleAttempts(trx, kind, afterSeconds)
  for (const attempt of attempts) await JOBS[kind].finishAttempt(trx, attempt)
  const refunds = await findUnansweredRefunds(trx, kind, afterSeconds)
  for (const refund of refunds) await JOBS[kind].finishRefund(trx, refund)
  return { attempts: attempts.length, refunds: refunds.length }
}

/**
 * Attempts whose session or intent is unknown for this long, those of a saved card that were not confirmed
 * or whose confirmation got no answer, and open payment pages of owners that received a payment meanwhile.
 */
function findStaleAttempts(
  trx: Tx,
  kind: OwnerKind,
  afterSeconds: number,
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
        .orWhere((page) => {
          void page
            .where({ 'a.kind': 'checkout', 'a.state': 'open' })
            .whereRaw(`a.expires_at > now()`)
            .whereRaw(`${IS_PAID} < now() - make_interval(secs => ?)`, [afterSeconds])
        })
        // Each confirmation updates the row, so only created_at tells.
        .orWhere((card) => {
          void card
            .where({ 'a.kind': 'saved_card', 'a.state': 'open' })
            .whereRaw(`a.created_at < now() - make_interval(secs => ?)`, [afterSeconds])
        })
    })
    .whereNotExists(pendingJob(trx, `'${JOBS[kind].attemptKey}' || a.owner_id || ':' || a.attempt`))
    .orderBy('a.created_at')
    .limit(MAX_SWEEP_JOBS)
    .select<StaleAttempt[]>(
      'a.conference_id as conferenceId',
      'a.owner_id as ownerId',
      'a.attempt as attempt',
    )
}

/** SQL for when the owner of attempt `a` first received a payment, or null. */
const IS_PAID = `(select min(p.seen_at) from payments p
  where p.conference_id = a.conference_id and p.owner_id = a.owner_id and p.amount_received > 0)`

function findUnansweredRefunds(
  trx: Tx,
  kind: OwnerKind,
  afterSeconds: number,
): Promise<UnansweredRefund[]> {
  return trx('refund_requests as r')
    .whereNotNull(`r.${kind}_id`)
    .where('r.state', 'requested')
    .whereRaw(`r.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
    .whereNotExists(pendingJob(trx, `'${JOBS[kind].refundKey}' || r.id`))
    .orderBy('r.created_at')
    .limit(MAX_SWEEP_JOBS)
    .select<UnansweredRefund[]>(
      'r.conference_id as conferenceId',
      'r.owner_id as ownerId',
      'r.id as id',
    )
}

/** Webhooks report changes of an open payment page, so it is fetched only once in this time. */
const OPEN_PAGE_SECONDS = 3_600

/**
 * SQL for whether an owner waits for Stripe: a payment is processing, or a payment page is open, and it
 * was not fetched for `:after` seconds, a page that can be paid for an hour.
 *
 * @param owner - alias of a row with conference_id, id and reconciled_at.
 */
export const waitsForStripe = (owner: string) => `exists (
  select from payment_attempts a
  where a.conference_id = ${owner}.conference_id and a.owner_id = ${owner}.id
    and (a.state = 'processing' or (a.state = 'open' and a.kind = 'checkout'))
    and greatest(a.updated_at, ${owner}.reconciled_at) < now() - make_interval(secs =>
      case when a.state = 'open' and a.expires_at > now() then ${OPEN_PAGE_SECONDS}
        else cast(:after as integer) end))`

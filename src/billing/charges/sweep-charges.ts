import type { Tx } from '../../db/connect.ts'
import { addJob, pendingJob } from '../../jobs/job-queue.ts'
import {
  findStaleAttempts,
  findUnansweredRefunds,
  OPEN_PAGE_SECONDS,
  waitsForStripe,
} from '../../payments/stale-payments.ts'

const MAX_JOBS = 500

type ChargeKey = { conference_id: string; charge_id: string }

/**
 * Adds a job for each charge, attempt and charge refund whose outcome has been unknown for longer than
 * `afterSeconds`. The jobs reconcile charges, close attempts that no request continues and finish requested
 * refunds; they never charge a card.
 *
 * @param trx - of a system task: it searches all conferences.
 */
export async function sweepCharges(
  trx: Tx,
  afterSeconds: number,
): Promise<{ charges: number; chargeAttempts: number; chargeRefunds: number }> {
  const charges = await findStaleCharges(trx, afterSeconds)
  for (const charge of charges) await addJob(trx, 'reconcile_charge', charge)
  const attempts = await findStaleAttempts(trx, 'charge', afterSeconds, MAX_JOBS)
  for (const { conferenceId, ownerId, attempt } of attempts) {
    const payload = { conference_id: conferenceId, charge_id: ownerId, attempt }
    await addJob(trx, 'finish_charge_attempt', payload)
  }
  const refunds = await findUnansweredRefunds(trx, 'charge', afterSeconds, MAX_JOBS)
  for (const { conferenceId, ownerId, id } of refunds) {
    const payload = { conference_id: conferenceId, charge_id: ownerId, id }
    await addJob(trx, 'finish_charge_refund', payload)
  }
  return {
    charges: charges.length,
    chargeAttempts: attempts.length,
    chargeRefunds: refunds.length,
  }
}

function findStaleCharges(trx: Tx, after: number): Promise<ChargeKey[]> {
  return trx('charges as c')
    .whereRaw(waitsForStripe('c'), { after, open: OPEN_PAGE_SECONDS })
    .whereNotExists(pendingJob(trx, `'reconcile_charge:' || c.id`))
    .orderByRaw('c.reconciled_at nulls first')
    .limit(MAX_JOBS)
    .select<ChargeKey[]>('c.conference_id', 'c.id as charge_id')
}

import type { Tx } from '../../db/connect.ts'
import { addJob, pendingJob, sweepAlone } from '../../jobs/job-queue.ts'
import { MAX_SWEEP_JOBS, sweepPayments, waitsForStripe } from '../../payments/stale-payments.ts'

type ChargeKey = { conference_id: string; charge_id: string }

/**
 * Adds a job for each charge that waits for Stripe longer than `afterSeconds`, and for its stale attempts and
 * refunds; see `sweepPayments`. The jobs never charge a card.
 *
 * @param trx - of a system task: it searches all conferences.
 */
export async function sweepCharges(
  trx: Tx,
  afterSeconds: number,
): Promise<{ charges: number; chargeAttempts: number; chargeRefunds: number }> {
  await sweepAlone(trx)
  const charges = await findStaleCharges(trx, afterSeconds)
  for (const charge of charges) await addJob(trx, 'reconcile_charge', charge)
  const { attempts, refunds } = await sweepPayments(trx, 'charge', afterSeconds)
  return { charges: charges.length, chargeAttempts: attempts, chargeRefunds: refunds }
}

function findStaleCharges(trx: Tx, after: number): Promise<ChargeKey[]> {
  return trx('charges as c')
    .whereRaw(waitsForStripe('c'), { after })
    .whereNotExists(pendingJob(trx, `'reconcile_charge:' || c.id`))
    .orderByRaw('c.reconciled_at nulls first')
    .limit(MAX_SWEEP_JOBS)
    .select<ChargeKey[]>('c.conference_id', 'c.id as charge_id')
}

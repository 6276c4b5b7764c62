import type { Tx } from '../db/connect.ts'
import { addJob, pendingJob, sweepAlone } from '../jobs/job-queue.ts'
import { MAX_SWEEP_JOBS, sweepPayments } from '../payments/stale-payments.ts'

/** How many jobs a sweep added, by kind. */
export type SweepCounts = { purchases: number; attempts: number; refunds: number }

/**
 * Adds a job for each purchase that is PROCESSING and was not fetched for longer than `afterSeconds`, oldest
 * first, and for its stale attempts and refunds; see `sweepPayments`.
 *
 * @param trx of a system task: the sweep covers all conferences.
 */
export async function sweepPurchases(trx: Tx, afterSeconds: number): Promise<SweepCounts> {
  await sweepAlone(trx)
  const purchases = await findStalePurchases(trx, afterSeconds)
  for (const purchase of purchases) {
    await addJob(trx, 'reconcile_purchase', { ...purchase, reason: 'sweep' })
  }
  return { purchases: purchases.length, ...(await sweepPayments(trx, 'purchase', afterSeconds)) }
}

type PurchaseKey = { conference_id: string; purchase_id: string }

function findStalePurchases(trx: Tx, afterSeconds: number): Promise<PurchaseKey[]> {
  return trx('bulk_purchases as p')
    .where('p.status', 'PROCESSING')
    .whereRaw(`coalesce(p.reconciled_at, p.updated_at) < now() - make_interval(secs => ?)`, [
      afterSeconds,
    ])
    .whereNotExists(pendingJob(trx, `'reconcile_purchase:' || p.id`))
    .orderByRaw('p.reconciled_at nulls first')
    .limit(MAX_SWEEP_JOBS)
    .select<PurchaseKey[]>('p.conference_id', 'p.id as purchase_id')
}

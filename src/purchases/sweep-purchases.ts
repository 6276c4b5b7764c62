import type { Tx } from '../db/connect.ts'
import { addJob, pendingJob } from '../jobs/job-queue.ts'
import { findStaleAttempts, findUnansweredRefunds } from '../payments/stale-payments.ts'

/** How many jobs a sweep added, by kind. */
export type SweepCounts = { purchases: number; attempts: number; refunds: number }

// Per sweep and kind: enough for 1,000 purchases a minute at the default settings, and few enough that
// the transaction takes well under a second.
const MAX_JOBS = 500

/**
 * Adds a job for everything that has waited longer than `afterSeconds` for Stripe: PROCESSING purchases,
 * attempts without a known session, and refund requests without a known outcome. Oldest first. Rows
 * that have a pending job are skipped, so that rows which fail repeatedly do not block the others.
 *
 * @param trx of a system task: the sweep covers all conferences.
 */
export async function sweepPurchases(trx: Tx, afterSeconds: number): Promise<SweepCounts> {
  const purchases = await findStalePurchases(trx, afterSeconds)
  for (const purchase of purchases) {
    await addJob(trx, 'reconcile_purchase', { ...purchase, reason: 'sweep' })
  }
  const attempts = await findStaleAttempts(trx, 'purchase', afterSeconds, MAX_JOBS)
  for (const { conferenceId, ownerId, attempt } of attempts) {
    const payload = { conference_id: conferenceId, purchase_id: ownerId, attempt }
    await addJob(trx, 'finish_attempt', payload)
  }
  const refunds = await findUnansweredRefunds(trx, 'purchase', afterSeconds, MAX_JOBS)
  for (const { conferenceId, ownerId, id } of refunds) {
    await addJob(trx, 'finish_refund', { conference_id: conferenceId, purchase_id: ownerId, id })
  }
  return { purchases: purchases.length, attempts: attempts.length, refunds: refunds.length }
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
    .limit(MAX_JOBS)
    .select<PurchaseKey[]>('p.conference_id', 'p.id as purchase_id')
}

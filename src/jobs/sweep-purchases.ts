import type { Knex } from 'knex'
import type { Tx } from '../db/connect.ts'
import { addJob } from './add-job.ts'

// One sweep's share of each kind: enough for 1,000 purchases a minute at the default settings, and
// little enough that the transaction stays well under a second.
const AT_MOST = 500

/** How many jobs a sweep added, by kind. */
export type Swept = { purchases: number; attempts: number; refunds: number }

/**
 * Finds what has waited longer than `afterSeconds` for news from Stripe and adds a job for each:
 * purchases that are PROCESSING, checkout attempts without a known session, and refunds without a
 * known answer. Oldest first; what has a job that still tries is left out, so that what fails again
 * and again cannot keep the others from their turn.
 *
 * @param trx of a system task: it looks across all conferences.
 */
export async function sweepPurchases(trx: Tx, afterSeconds: number): Promise<Swept> {
  const purchases = await purchasesWithoutNews(trx, afterSeconds)
  for (const purchase of purchases) {
    await addJob(trx, 'reconcile_purchase', { ...purchase, reason: 'sweep' })
  }
  const attempts = await attemptsWithoutSession(trx, afterSeconds)
  for (const attempt of attempts) await addJob(trx, 'finish_attempt', attempt)
  const refunds = await refundsWithoutAnswer(trx, afterSeconds)
  for (const refund of refunds) await addJob(trx, 'finish_refund', refund)
  return { purchases: purchases.length, attempts: attempts.length, refunds: refunds.length }
}

type PurchaseKey = { conference_id: string; purchase_id: string }

function purchasesWithoutNews(trx: Tx, afterSeconds: number): Promise<PurchaseKey[]> {
  return trx('bulk_purchases as p')
    .where('p.status', 'PROCESSING')
    .whereRaw(`coalesce(p.reconciled_at, p.updated_at) < now() - make_interval(secs => ?)`, [
      afterSeconds,
    ])
    .whereNotExists(jobFor(trx, `'reconcile_purchase:' || p.id`))
    .orderByRaw('p.reconciled_at nulls first')
    .limit(AT_MOST)
    .select<PurchaseKey[]>('p.conference_id', 'p.id as purchase_id')
}

function attemptsWithoutSession(
  trx: Tx,
  afterSeconds: number,
): Promise<(PurchaseKey & { attempt: number })[]> {
  return trx('checkout_attempts as a')
    .where((either) => {
      void either
        .where((unknown) => {
          void unknown
            .where('a.state', 'creating')
            .whereRaw(`a.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
        })
        // Nobody goes on charging it: each reading changes the row, so its age tells.
        .orWhere((card) => {
          void card
            .where({ 'a.kind': 'payment_intent', 'a.state': 'open' })
            .whereRaw(`a.created_at < now() - make_interval(secs => ?)`, [afterSeconds])
        })
    })
    .whereNotExists(jobFor(trx, `'finish_attempt:' || a.purchase_id || ':' || a.attempt`))
    .orderBy('a.created_at')
    .limit(AT_MOST)
    .select<(PurchaseKey & { attempt: number })[]>('a.conference_id', 'a.purchase_id', 'a.attempt')
}

function refundsWithoutAnswer(
  trx: Tx,
  afterSeconds: number,
): Promise<(PurchaseKey & { id: string })[]> {
  return trx('refund_requests as r')
    .where('r.state', 'requested')
    .whereRaw(`r.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
    .whereNotExists(jobFor(trx, `'finish_refund:' || r.id`))
    .orderBy('r.created_at')
    .limit(AT_MOST)
    .select<(PurchaseKey & { id: string })[]>('r.conference_id', 'r.purchase_id', 'r.id')
}

/** A job of this key (see job-catalogue.ts) that waits for a try or runs. */
function jobFor(trx: Tx, key: string): Knex.QueryBuilder {
  return trx('graphile_worker.jobs as j')
    .whereRaw(`j.key = ${key}`)
    .whereRaw('(j.attempts < j.max_attempts or j.locked_at is not null)')
}

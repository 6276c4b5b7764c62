import type { Knex } from 'knex'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { PaymentGateway, PurchaseRef } from '../payments/payment-gateway.ts'
import { AppError } from '../shared/errors.ts'
import { closeAttempt } from './open-attempt.ts'
import { expireAttempt, findAttempt } from './payment-attempt-store.ts'
import { lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

// One sweep's share of each kind: enough for 1,000 purchases a minute at the default settings, and
// little enough that the transaction stays well under a second.
const MAX_JOBS = 500

/** How many jobs a sweep added, by kind. */
export type SweepCounts = { purchases: number; attempts: number; refunds: number }

/**
 * Finds what has waited longer than `afterSeconds` for news from Stripe and adds a job for each:
 * purchases that are PROCESSING, checkout attempts without a known session, and refunds without a
 * known answer. Oldest first; what has a job that still tries is left out, so that what fails again
 * and again cannot keep the others from their turn.
 *
 * @param trx of a system task: it looks across all conferences.
 */
export async function sweepPurchases(trx: Tx, afterSeconds: number): Promise<SweepCounts> {
  const purchases = await findStalePurchases(trx, afterSeconds)
  for (const purchase of purchases) {
    await addJob(trx, 'reconcile_purchase', { ...purchase, reason: 'sweep' })
  }
  const attempts = await findStaleAttempts(trx, afterSeconds)
  for (const attempt of attempts) await addJob(trx, 'finish_attempt', attempt)
  const refunds = await findUnansweredRefunds(trx, afterSeconds)
  for (const refund of refunds) await addJob(trx, 'finish_refund', refund)
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

function findStaleAttempts(
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
    .whereNotExists(pendingJob(trx, `'finish_attempt:' || a.purchase_id || ':' || a.attempt`))
    .orderBy('a.created_at')
    .limit(MAX_JOBS)
    .select<(PurchaseKey & { attempt: number })[]>('a.conference_id', 'a.purchase_id', 'a.attempt')
}

function findUnansweredRefunds(
  trx: Tx,
  afterSeconds: number,
): Promise<(PurchaseKey & { id: string })[]> {
  return trx('refund_requests as r')
    .where('r.state', 'requested')
    .whereRaw(`r.updated_at < now() - make_interval(secs => ?)`, [afterSeconds])
    .whereNotExists(pendingJob(trx, `'finish_refund:' || r.id`))
    .orderBy('r.created_at')
    .limit(MAX_JOBS)
    .select<(PurchaseKey & { id: string })[]>('r.conference_id', 'r.purchase_id', 'r.id')
}

/** A job of this key (see job-catalogue.ts) that waits for a try or runs. */
function pendingJob(trx: Tx, key: string): Knex.QueryBuilder {
  return trx('graphile_worker.jobs as j')
    .whereRaw(`j.key = ${key}`)
    .whereRaw('(j.attempts < j.max_attempts or j.locked_at is not null)')
}

const SWEEP_CAUSE = {
  actor: { kind: 'system', id: 'sweep' },
  cause: 'attempt without a session',
} as const

/**
 * An attempt that was left without a session (we died between Stripe and our commit): asks again
 * under its key, which tells us the session if there is one, and closes it, since nobody was given
 * its address. A payer who was faster is found by the reading at the end. A saved card that nobody
 * goes on charging is given up in the same way.
 */
export async function finishStaleAttempt(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  number: number,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  const isCard = attempt?.kind === 'payment_intent' && attempt.state === 'open'
  if (attempt?.state !== 'creating' && !isCard) return
  // What became of a card's intent is for the reading to say.
  if ((await closeAtStripe(deps, ref, number)) && !isCard) {
    await withTenant(deps.db, ref, async (trx) => {
      await lockPurchase(trx, ref)
      await expireAttempt(trx, ref, number)
    })
  }
  await reconcilePurchase(deps, ref, SWEEP_CAUSE)
}

async function closeAtStripe(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  number: number,
): Promise<boolean> {
  try {
    await closeAttempt(deps, ref, number, SWEEP_CAUSE)
    return true
  } catch (error) {
    if (error instanceof AppError && error.code === 'payment_in_progress') return false
    throw error
  }
}

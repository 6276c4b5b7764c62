import type { Knex } from 'knex'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { PaymentGateway, PurchaseRef } from '../payments/payment-gateway.ts'
import { AppError } from '../shared/errors.ts'
import { closeAttempt } from './checkout-purchase.ts'
import { expireAttempt, findAttempt } from './payment-attempt-store.ts'
import { lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

// Per sweep and kind: enough for 1,000 purchases a minute at the default settings, and few enough that
// the transaction takes well under a second.
const MAX_JOBS = 500

/** How many jobs a sweep added, by kind. */
export type SweepCounts = { purchases: number; attempts: number; refunds: number }

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
        // No request confirms it any more. Each snapshot updates the row, so only created_at tells.
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

/** A job of this key (see job-catalogue.ts) that waits for an attempt or runs. */
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
 * Closes an attempt that has no session because the process died between Stripe's response and our
 * commit: the session is opened again under the same key, which returns it if it exists, and closed,
 * since no payer has its URL. An attempt by a saved card that no request continues is closed in the
 * same way. The snapshot at the end finds a payment that was faster.
 */
export async function finishStaleAttempt(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  number: number,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  const isCard = attempt?.kind === 'payment_intent' && attempt.state === 'open'
  if (attempt?.state !== 'creating' && !isCard) return
  // For a card, only the snapshot says what happened to the intent.
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

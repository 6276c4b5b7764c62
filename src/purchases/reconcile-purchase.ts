import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { PaymentGateway, SnapshotQuery } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { applySnapshot } from './apply-snapshot.ts'
import { listAttempts } from './payment-attempt-store.ts'
import { listPaymentIntents } from './payment-store.ts'
import { type Cause, lockPurchase, type PurchaseRef } from './purchase-store.ts'

export type ReconcileOptions = {
  cause: Cause
  warnings?: boolean
  /** Payments that the events behind this reading spoke of; see FactsQuery. */
  hintedPaymentIntents?: string[]
  /**
   * Wraps the closing transaction: the inbox locks its event rows first and marks them done after
   * `apply`, or does not call it at all when another worker has taken them over.
   */
  within?: (trx: Tx, apply: () => Promise<void>) => Promise<void>
}

/** `superseded`: a reading that began later was applied first, so this one changed nothing. */
export type Reconciled = 'applied' | 'superseded'

/**
 * Reads what Stripe says now of a purchase and moves the purchase there. Webhooks, timers, staff and
 * the CLI all come through here; events only say that it is time to look.
 *
 * A ticket is drawn before the reading, in its own commit. Readings may finish in any order; one
 * with a lower ticket than what was applied is dropped, so a slow reading never undoes a newer one.
 *
 * @throws AppError `not_found`, `stripe_unavailable` and the others of PaymentGateway.
 */
export async function reconcilePurchase(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  options: ReconcileOptions,
): Promise<Reconciled> {
  const { ticket, query } = await withTenant(deps.db, ref, (trx) => takeTicket(trx, ref, options))
  const facts = await deps.gateway.readFacts(query)
  return withTenant(deps.db, ref, async (trx) => {
    let outcome: Reconciled = 'superseded'
    const apply = async () => {
      const purchase = await lockPurchase(trx, ref)
      if (purchase.appliedTicket > ticket) return
      await applySnapshot(trx, ref, facts, options.cause)
      await trx('bulk_purchases')
        .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
        .update({ applied_ticket: ticket, reconciled_at: trx.fn.now() })
      outcome = 'applied'
    }
    await (options.within === undefined ? apply() : options.within(trx, apply))
    return outcome
  })
}

async function takeTicket(
  trx: Tx,
  ref: PurchaseRef,
  options: ReconcileOptions,
): Promise<{ ticket: number; query: SnapshotQuery }> {
  const [row] = await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .increment('reconcile_ticket', 1)
    .returning<{ reconcile_ticket: number }[]>('reconcile_ticket')
  if (row === undefined) throw notFound('purchase')
  const attempts = await listAttempts(trx, ref)
  // An expired session cannot be paid any more, so it is not read again.
  const live = attempts.filter(({ state }) => state !== 'expired' && state !== 'refused')
  const known = await listPaymentIntents(trx, ref)
  const attemptOf = (intent: string) =>
    attempts.find(({ paymentIntentId }) => paymentIntentId === intent)?.attempt ?? null
  return {
    ticket: row.reconcile_ticket,
    query: {
      ref,
      sessions: live.flatMap(({ attempt, sessionId }) =>
        sessionId === null ? [] : [{ attempt, sessionId }],
      ),
      paymentIntents: known.map((intent) => ({
        paymentIntent: intent,
        attempt: attemptOf(intent),
      })),
      hintedPaymentIntents: (options.hintedPaymentIntents ?? []).filter(
        (id) => !known.includes(id),
      ),
      warnings: options.warnings ?? false,
    },
  }
}

/** A purchase younger than this is left to its webhook. Seconds. */
const QUIET_SECONDS = 5

/** Puts a reconcile job into the caller's transaction. Implemented by jobs/. */
export type AddReconcileJob = (
  trx: Tx,
  job: { conferenceId: string; purchaseId: string; reason: string },
) => Promise<void>

export type ReconcileRequests = {
  /**
   * Somebody looks at a PROCESSING purchase, perhaps on the page after paying: asks for a reading
   * when none happened for a while. Not awaited; the answer comes from the database.
   */
  onView(trx: Tx, caller: Caller, purchase: { id: string }): Promise<void>
}

export function createReconcileRequests(addJob: AddReconcileJob): ReconcileRequests {
  return {
    async onView(trx, { conferenceId }, { id }) {
      const stale = await trx('bulk_purchases')
        .where({ conference_id: conferenceId, id, status: 'PROCESSING' })
        .whereRaw(`greatest(updated_at, reconciled_at) < now() - make_interval(secs => ?)`, [
          QUIET_SECONDS,
        ])
        .first('id')
      if (stale !== undefined) await addJob(trx, { conferenceId, purchaseId: id, reason: 'view' })
    },
  }
}

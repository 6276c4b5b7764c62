import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { notFound } from '../shared/errors.ts'
import { applyFacts } from './apply-facts.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { listAttempts } from './checkout-attempt.ts'
import type { FactsQuery, PaymentGateway } from './payment-gateway.ts'
import { listPaymentIntents } from './payment-store.ts'
import type { Cause } from './purchase-history.ts'
import { lockPurchase } from './purchase-store.ts'

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
  const { ticket, query } = await withTenant(deps.db, ref, (trx) => drawTicket(trx, ref, options))
  const facts = await deps.gateway.readFacts(query)
  return withTenant(deps.db, ref, async (trx) => {
    let outcome: Reconciled = 'superseded'
    const apply = async () => {
      const purchase = await lockPurchase(trx, ref)
      if (purchase.appliedTicket > ticket) return
      await applyFacts(trx, ref, facts, options.cause)
      await trx('bulk_purchases')
        .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
        .update({ applied_ticket: ticket, reconciled_at: trx.fn.now() })
      outcome = 'applied'
    }
    await (options.within === undefined ? apply() : options.within(trx, apply))
    return outcome
  })
}

async function drawTicket(
  trx: Tx,
  ref: PurchaseRef,
  options: ReconcileOptions,
): Promise<{ ticket: number; query: FactsQuery }> {
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

import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { closeAttempt } from './open-attempt.ts'
import { expireAttempt, findPayableAttempt } from './payment-attempt-store.ts'
import {
  allowedActions,
  loadAggregate,
  machineContext,
  paymentInProgress,
  wrongState,
} from './purchase-aggregate.ts'
import type { Cause, PurchaseRef } from './purchase-store.ts'
import { lockPurchase } from './purchase-store.ts'
import { transitionPurchase } from './transition-purchase.ts'

/** Refuses early, in the request's transaction, what the machine would refuse at the end. */
export async function beginCancel(trx: Tx, caller: Caller, purchaseId: string): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const known = await loadAggregate(trx, await lockPurchase(trx, ref, caller.sponsorId))
  const allowed = allowedActions(known, false, caller.sponsorId !== null)
  if (allowed.includes('cancel')) return
  const { pending, paid } = machineContext(known).attempts
  if (known.purchase.status === 'PROCESSING' && (pending || paid)) {
    throw paymentInProgress('A payment is under way or has arrived; it cannot be cancelled.')
  }
  throw wrongState('cancel', known.purchase.status, allowed)
}

/**
 * Expires the open session at Stripe, then fails the purchase. May be repeated after a crash.
 *
 * @throws AppError `payment_in_progress` when the payer was faster.
 */
export async function finishCancel(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  cause: Cause,
): Promise<void> {
  const open = await withTenant(deps.db, ref, (trx) => findPayableAttempt(trx, ref))
  if (open !== null) await closeAttempt(deps, ref, open.attempt, cause)
  await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    if (open !== null) await expireAttempt(trx, ref, open.attempt)
    const step = await transitionPurchase(trx, ref, { type: 'CANCELLED' }, cause)
    // Stripe's own `expired` event may have been faster; the purchase has failed all the same.
    if (step.kind === 'applied' || step.status === 'FAILED') return
    throw wrongState('cancel', step.status, [])
  })
}

import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { PaymentGateway, PurchaseRef } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { closeAttempt } from './checkout-purchase.ts'
import { findPayableAttempt } from './payment-attempt-store.ts'
import {
  allowedActions,
  loadAggregate,
  machineContext,
  paymentInProgress,
  wrongState,
} from './purchase-aggregate.ts'
import type { Cause } from './purchase-store.ts'
import { lockPurchase } from './purchase-store.ts'
import type { TransitionResult } from './transition-purchase.ts'

/**
 * Refuses, in the request's transaction, what the machine would refuse at the end.
 *
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`.
 */
export async function assertCancellable(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const aggregate = await loadAggregate(trx, await lockPurchase(trx, ref, caller.sponsorId))
  const allowed = allowedActions(aggregate, false, caller.sponsorId !== null)
  if (allowed.includes('cancel')) return
  const { pending, paid } = machineContext(aggregate).attempts
  if (aggregate.purchase.status === 'PROCESSING' && (pending || paid)) {
    throw paymentInProgress(
      'The purchase cannot be cancelled: a payment is pending or has arrived.',
    )
  }
  throw wrongState('cancel', aggregate.purchase.status, allowed)
}

/**
 * Closes the attempt that can be paid, if there is one, at Stripe. Safe to repeat after a crash.
 *
 * @returns the attempt's number.
 * @throws AppError `payment_in_progress` if the payer completed it first.
 */
export async function closePayableAttempt(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  cause: Cause,
): Promise<number | null> {
  const open = await withTenant(deps.db, ref, (trx) => findPayableAttempt(trx, ref))
  if (open !== null) await closeAttempt(deps, ref, open.attempt, cause)
  return open?.attempt ?? null
}

/** @throws BulkPurchaseError `wrong_state` unless the purchase has failed. */
export function assertCancelled({ kind, status }: TransitionResult): void {
  // Stripe's own event about the expired session may have failed the purchase first.
  if (kind === 'refused' && status !== 'FAILED') throw wrongState('cancel', status, [])
}

import type { Conference } from '../conferences/conference.ts'
import type { Tx } from '../db/connect.ts'
import { allowedActions } from './allowed-actions.ts'
import type { BulkPurchase } from './bulk-purchase.ts'
import type { CheckoutAttempt } from './checkout-attempt.ts'
import { contextOf, loadCase } from './purchase-context.ts'
import { BulkPurchaseError, paymentInProgress, wrongState } from './purchase-error.ts'

/**
 * Refuses to begin a try to pay, by the page or by a saved card, where none may be begun.
 *
 * @returns the purchase's tries so far.
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`.
 */
export async function assertPayable(
  trx: Tx,
  conference: Conference,
  purchase: BulkPurchase,
  action: 'checkout' | 'pay',
  isSponsor: boolean,
): Promise<CheckoutAttempt[]> {
  const known = await loadCase(trx, purchase)
  const { pending, paid } = contextOf(known).attempts
  const isUnpaid = purchase.status !== 'PAID' && purchase.status !== 'REFUNDED'
  if (isUnpaid && pending) {
    throw paymentInProgress('A bank payment is under way; wait until it arrives or fails.')
  }
  if (isUnpaid && paid) {
    throw paymentInProgress('A payment arrived that staff have to accept or refund first.')
  }
  const allowed = allowedActions(known, false, isSponsor)
  if (!allowed.includes('checkout')) throw wrongState(action, purchase.status, allowed)
  if (conference.livemode === null) {
    throw new BulkPurchaseError('stripe_key_missing', 'The conference has no Stripe key yet.')
  }
  return known.attempts
}

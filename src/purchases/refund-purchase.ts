import type { Db, Tx } from '../db/connect.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import { type RefundInput, requestRefund, sendRefund } from '../payments/refund-payment.ts'
import type { Caller } from '../shared/caller.ts'
import { newId } from '../shared/ids.ts'
import { ownerOf } from './change-purchase.ts'
import { allowedActions, type PurchaseRef, wrongState } from './purchase-aggregate.ts'
import type { Cause } from './purchase-history.ts'
import { getAggregate, lockAggregate } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

/**
 * Stores a refund request; see `requestRefund`.
 *
 * @returns the request's id.
 * @throws BulkPurchaseError `wrong_state` if nothing is left to refund; `validation_failed`.
 */
export async function beginRefund(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  input: RefundInput,
): Promise<string> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const aggregate = await lockAggregate(trx, ref)
  const { purchase, records } = aggregate
  const request = { ...input, id: newId('refundRequest'), requestedBy: caller.actor.id }
  const main = purchase.paymentIntentId
  if (await requestRefund(trx, ownerOf(ref), records, main, request)) return request.id
  throw wrongState('refund', purchase.status, allowedActions(aggregate, false))
}

/**
 * Sends the refund request to Stripe; see `sendRefund`. The vouchers follow from the snapshot.
 */
export function finishRefund(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  request: { id: string; isRepeat: boolean },
  cause: Cause,
): Promise<void> {
  const refundable = {
    owner: ownerOf(ref),
    load: async (trx: Tx) => (await getAggregate(trx, ref)).records,
    reconcile: () => reconcilePurchase(deps, ref, cause),
  }
  return sendRefund(deps, refundable, request)
}

import type { Db, Tx } from '../db/connect.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import { insertRecordedRefund } from '../payments/recorded-payments.ts'
import {
  chooseRefund,
  insertRefundRequest,
  type RefundInput,
  sendRefund,
} from '../payments/refund-payment.ts'
import type { Caller } from '../shared/caller.ts'
import { ID_PREFIXES, newId } from '../shared/ids.ts'
import { ownerOf, savePlan } from './change-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import { allowedActions, type PurchaseRef, wrongState } from './purchase-aggregate.ts'
import type { Cause } from './purchase-history.ts'
import { getAggregate, lockAggregate } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

/**
 * Stores a refund request, or books the refund of a recorded payment, which Stripe cannot refund.
 *
 * @returns the id of the request or of the booked refund.
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
  const chosen = chooseRefund('purchase', records, purchase.paymentIntentId, input)
  if (chosen === null) {
    throw wrongState('refund', purchase.status, allowedActions(aggregate, false))
  }
  const { amount, payment } = chosen
  const { reason } = input
  const requestedBy = caller.actor.id
  if (payment.isRecorded) {
    const refund = { id: newId('recordedRefund'), amount, reason }
    await insertRecordedRefund(trx, ref, refund, requestedBy)
    const plan = planPurchase(aggregate, { type: 'recorded_refund', refund })
    await savePlan(trx, plan, { actor: caller.actor, cause: 'refund' })
    return refund.id
  }
  const id = newId('refundRequest')
  await insertRefundRequest(trx, ownerOf(ref), { ...chosen, id, reason, requestedBy })
  return id
}

const isBooked = (id: string) => id.startsWith(`${ID_PREFIXES.recordedRefund}_`)

/**
 * Sends the refund request to Stripe; see `sendRefund`. The vouchers follow from the snapshot. A booked refund
 * is complete.
 */
export async function finishRefund(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  request: { id: string; isRepeat: boolean },
  cause: Cause,
): Promise<void> {
  if (isBooked(request.id)) return
  const refundable = {
    owner: ownerOf(ref),
    load: async (trx: Tx) => (await getAggregate(trx, ref)).records,
    reconcile: () => reconcilePurchase(deps, ref, cause),
  }
  await sendRefund(deps, refundable, request)
}

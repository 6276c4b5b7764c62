import type { Tx } from '../../db/connect.ts'
import { type RefundInput, requestRefund, sendRefund } from '../../payments/refund-payment.ts'
import { newId } from '../../shared/ids.ts'
import type { ReconcileChargeDeps } from '../billing-deps.ts'
import { changeCharge } from './change-charge.ts'
import { type ChargeRef, getCharge, lockCharge, ownerOf } from './charge-store.ts'
import { wrongChargeState } from './pay-charge.ts'
import { reconcileCharge } from './reconcile-charge.ts'

/**
 * Stores a refund request; see `requestRefund`. The amount counts as refunding from now on, and a check
 * constraint keeps the sum within what was received.
 *
 * @returns the request's id.
 * @throws AppError `wrong_state` if nothing is left to refund or the payment is disputed;
 *   `validation_failed` for more than is left.
 */
export async function beginChargeRefund(
  trx: Tx,
  ref: ChargeRef,
  input: Omit<RefundInput, 'paymentIntent'>,
  actorId: string,
): Promise<string> {
  const { charge, records } = await lockCharge(trx, ref)
  const main = charge.paymentIntentId
  const id = newId('chargeRefund')
  const request = { ...input, paymentIntent: null, id, requestedBy: actorId }
  if (!(await requestRefund(trx, ownerOf(ref), records, main, request))) {
    const detail = `The charge has no amount left to refund: its status is ${charge.status}, or its payment is disputed.`
    throw wrongChargeState(detail, charge)
  }
  await changeCharge(trx, ref, { type: 'refresh' })
  return id
}

/**
 * Sends the refund request to Stripe; see `sendRefund`. Only refunds that Stripe lists are booked.
 */
export function finishChargeRefund(
  deps: ReconcileChargeDeps,
  ref: ChargeRef,
  request: { id: string; isRepeat: boolean },
): Promise<void> {
  const refundable = {
    owner: ownerOf(ref),
    load: async (trx: Tx) => (await getCharge(trx, ref)).records,
    saved: (trx: Tx) => changeCharge(trx, ref, { type: 'refresh' }),
    reconcile: () => reconcileCharge(deps, ref),
  }
  return sendRefund(deps, refundable, request)
}

import type { Tx } from '../db/connect.ts'
import type { OutsidePayment, RecordedPayment } from '../payments/payment-records.ts'
import { insertRecordedPayment } from '../payments/recorded-payments.ts'
import type { Caller } from '../shared/caller.ts'
import { invalidField } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { formatMoney } from '../shared/money.ts'
import type { Clock } from '../shared/time.ts'
import { savePlan } from './change-purchase.ts'
import { afterClosing, type PayDeps } from './pay-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import {
  allowedActions,
  assertNoPayment,
  type PurchaseAggregate,
  type PurchaseRef,
  wrongState,
} from './purchase-aggregate.ts'
import type { Cause } from './purchase-history.ts'
import { lockAggregate } from './purchase-store.ts'

// Staff record money that did not come through Stripe. What Stripe's money does: plan-purchase.ts.

/**
 * Refuses a payment, in the request's transaction, that the purchase cannot take. It does not call Stripe.
 *
 * @returns the id of the payment that `finishMarkPaid` records.
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`; `validation_failed`.
 */
export async function beginMarkPaid(
  trx: Tx,
  { clock }: { clock: Clock },
  caller: Caller,
  purchaseId: string,
  payment: OutsidePayment,
): Promise<string> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  assertRecordable(await lockAggregate(trx, ref), payment)
  if (payment.paidAt !== null && payment.paidAt > clock.now()) {
    throw invalidField('/paid_at', 'must not be in the future')
  }
  return newId('recordedPayment')
}

function assertRecordable(aggregate: PurchaseAggregate, { amount }: OutsidePayment): void {
  assertNoPayment(aggregate)
  const { status, totalAmount, currency } = aggregate.purchase
  const allowed = allowedActions(aggregate, false)
  if (!allowed.includes('mark_paid')) throw wrongState('mark_paid', status, allowed)
  if (amount === totalAmount) return
  throw invalidField(
    '/amount',
    `must be ${totalAmount}: the total is ${formatMoney(totalAmount, currency)}`,
  )
}

/**
 * Records the payment, after what can still be paid at Stripe is closed there. Safe to repeat after a crash at
 * any line.
 *
 * @throws AppError `payment_in_progress` if the payer completed the page first; the errors of
 *   `beginMarkPaid`.
 */
export async function finishMarkPaid(
  deps: PayDeps,
  ref: PurchaseRef,
  id: string,
  { amount, method, reference, note, paidAt }: OutsidePayment,
  cause: Cause,
): Promise<void> {
  await afterClosing(deps, ref, { ...cause, note }, async (trx, before) => {
    // An earlier run recorded it and died before its answer was stored.
    if (before.records.recorded?.id === id) return
    assertRecordable(before, { amount, method, reference, note, paidAt })
    const payment: RecordedPayment = {
      id,
      amount,
      currency: before.purchase.currency,
      method,
      reference,
      paidAt: paidAt ?? deps.clock.now(),
      note,
      refunds: [],
    }
    const plan = planPurchase(before, { type: 'recorded_payment', payment })
    if (!plan.accepted) {
      throw wrongState('mark_paid', before.purchase.status, allowedActions(before, false))
    }
    await insertRecordedPayment(trx, ref, payment, cause.actor.id)
    await savePlan(trx, plan, { ...cause, note })
  })
}

import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import { formatMoney } from '../shared/money.ts'
import { savePlan, transitionPurchase } from './change-purchase.ts'
import { acceptablePayment, planPurchase } from './plan-purchase.ts'
import { allowedActions, BulkPurchaseError, wrongState } from './purchase-aggregate.ts'
import { type FlagCode, resolveFlags } from './purchase-flags.ts'
import { type Cause, lockAggregate } from './purchase-store.ts'

/**
 * Staff approve a free purchase, which issues its vouchers. The history names what they approved.
 *
 * @param quantity the quantity that they want to approve. Null: any quantity.
 * @throws BulkPurchaseError `wrong_state` unless it is free and PENDING, and of this quantity.
 */
export async function approveComp(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  quantity: number | null,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const before = await lockAggregate(trx, ref)
  const { purchase } = before
  const price = formatMoney(purchase.unitAmount, purchase.currency)
  const cause = { actor: caller.actor, cause: `approve ${purchase.quantity} × ${price}` }
  const plan = planPurchase(before, {
    type: 'event',
    event: { type: 'COMP_APPROVED' },
    approvedBy: caller.actor.id,
  })
  if (!plan.accepted) throw wrongState('approve', purchase.status, allowedActions(before, false))
  if (quantity !== null && quantity !== purchase.quantity) {
    const detail = `Approval is not possible: the quantity is ${purchase.quantity}, not ${quantity}.`
    throw new BulkPurchaseError('wrong_state', detail, { extra: { state: purchase.status } })
  }
  await savePlan(trx, plan, cause)
}

export type FlagResolution = {
  code: FlagCode
  note: string
  action: 'accept_payment' | 'reinstate' | null
}

/**
 * Resolves a flag for good, with a note and an optional action: `accept_payment` accepts a payment of
 * another amount as full payment; `reinstate` reactivates the vouchers of a refunded purchase after
 * its refund failed.
 *
 * @throws AppError `not_found` if no such flag is open, `wrong_state` if the action is not possible.
 */
export async function resolveFlag(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  resolution: FlagResolution,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const cause = { actor: caller.actor, cause: `resolve-flag ${resolution.code}` }
  assertFits(resolution)
  const before = await lockAggregate(trx, ref)
  const facts = await resolveFlags(trx, ref, resolution.code, {
    actorId: caller.actor.id,
    note: resolution.note,
    action: resolution.action,
  })
  if (resolution.action === 'reinstate') await reinstate(trx, ref, cause)
  if (resolution.action !== 'accept_payment') return
  const payment = acceptablePayment(before, facts)
  if (payment === undefined) {
    throw new AppError('wrong_state', 'The payment was refunded, so it cannot be accepted.')
  }
  const plan = planPurchase(before, { type: 'accept_payment', ...payment })
  if (!plan.accepted) {
    const { status } = before.purchase
    throw new AppError(
      'wrong_state',
      `The payment cannot be accepted: the purchase is ${status}. Refund the payment instead.`,
      { extra: { state: status } },
    )
  }
  await savePlan(trx, plan, cause)
}

function assertFits({ code, action }: FlagResolution): void {
  const fits =
    action === null ||
    (action === 'accept_payment' && code === 'amount_mismatch') ||
    (action === 'reinstate' && code === 'refund_failed')
  if (!fits) throw invalidField('/action', `cannot be ${action} for the flag ${code}`)
}

async function reinstate(trx: Tx, ref: PurchaseRef, cause: Cause): Promise<void> {
  const result = await transitionPurchase(trx, ref, { type: 'REINSTATED' }, cause)
  if (result.kind === 'applied') return
  throw new AppError(
    'wrong_state',
    `The purchase cannot be reinstated: its status is ${result.status}, and a part of its payment is refunded.`,
    { extra: { state: result.status } },
  )
}

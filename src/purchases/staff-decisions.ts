import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import {
  applyPayments,
  applyRefundsAndDisputes,
  NO_STATUSES,
  saveTotals,
} from './apply-snapshot.ts'
import { loadBalances } from './payment-store.ts'
import { allowedActions, loadAggregate, wrongState } from './purchase-aggregate.ts'
import { type FlagCode, resolveFlags } from './purchase-flags.ts'
import { type Cause, lockPurchase, updatePurchase } from './purchase-store.ts'
import { transitionPurchase } from './transition-purchase.ts'

/**
 * Staff approve a free purchase, which issues its vouchers.
 *
 * @throws BulkPurchaseError `wrong_state` unless it is free and PENDING.
 */
export async function approveComp(trx: Tx, caller: Caller, purchaseId: string): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const aggregate = await loadAggregate(trx, await lockPurchase(trx, ref))
  const allowed = allowedActions(aggregate, false, false)
  const cause = { actor: caller.actor, cause: 'approve' }
  const result = await transitionPurchase(trx, ref, { type: 'COMP_APPROVED' }, cause)
  if (result.kind === 'refused') throw wrongState('approve', result.status, allowed)
  await updatePurchase(trx, ref, { approved_by: caller.actor.id })
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
  await lockPurchase(trx, ref)
  const facts = await resolveFlags(trx, ref, resolution.code, {
    actorId: caller.actor.id,
    note: resolution.note,
    action: resolution.action,
  })
  if (resolution.action === 'accept_payment') await acceptPayment(trx, ref, facts, cause)
  if (resolution.action === 'reinstate') await reinstate(trx, ref, cause)
}

function assertFits({ code, action }: FlagResolution): void {
  const fits =
    action === null ||
    (action === 'accept_payment' && code === 'amount_mismatch') ||
    (action === 'reinstate' && code === 'refund_failed')
  if (!fits) throw invalidField('/action', `cannot be ${action} for the flag ${code}`)
}

async function acceptPayment(
  trx: Tx,
  ref: PurchaseRef,
  facts: string[],
  cause: Cause,
): Promise<void> {
  const balances = await loadBalances(trx, ref)
  const payment = balances.findLast(
    ({ paymentIntent, received, refunded, lost }) =>
      facts.includes(paymentIntent) && received > refunded + lost,
  )
  if (payment === undefined) {
    throw new AppError('wrong_state', 'The payment was refunded, so it cannot be accepted.')
  }
  await updatePurchase(trx, ref, {
    accepted_payment_intent_id: payment.paymentIntent,
    accepted_amount: payment.received,
  })
  await saveTotals(trx, ref)
  if (await applyPayments(trx, ref, cause)) {
    // Until now the payment did not count, so its refunds and disputes had no effect.
    await applyRefundsAndDisputes(trx, ref, NO_STATUSES, cause)
  }
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

import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import { applyPayments, applyRefundsAndDisputes, saveTotals } from './apply-snapshot.ts'
import { loadBalances } from './payment-store.ts'
import { allowedActions, loadAggregate, wrongState } from './purchase-aggregate.ts'
import { type FlagCode, resolveFlags } from './purchase-flags.ts'
import { type Cause, lockPurchase, updatePurchase } from './purchase-store.ts'
import { transitionPurchase } from './transition-purchase.ts'

/** Staff give a free purchase its codes. @throws AppError `wrong_state` when it is not free and PENDING. */
export async function approveComp(trx: Tx, caller: Caller, purchaseId: string): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const known = await loadAggregate(trx, await lockPurchase(trx, ref))
  const allowed = allowedActions(known, false, false)
  const cause = { actor: caller.actor, cause: 'approve' }
  const step = await transitionPurchase(trx, ref, { type: 'COMP_APPROVED' }, cause)
  if (step.kind === 'refused') throw wrongState('approve', step.status, allowed)
  await updatePurchase(trx, ref, { approved_by: caller.actor.id })
}

export type FlagResolution = {
  code: FlagCode
  note: string
  action: 'accept_payment' | 'reinstate' | null
}

/**
 * Closes a flag for good, with a note and, where staff decided so, the step that goes with it:
 * `accept_payment` takes a payment of another amount as the price; `reinstate` turns the codes of a
 * refunded purchase on again after its refund failed.
 *
 * @throws AppError `not_found` without such an open flag, `wrong_state` when the step is not possible.
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
  if (!fits) throw invalidField('/action', `${action} does not go with the flag ${code}.`)
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
    // Refunds and disputes of the payment had no effect while it did not count; they do now.
    await applyRefundsAndDisputes(trx, ref, { refunds: new Map(), disputes: new Map() }, cause)
  }
}

async function reinstate(trx: Tx, ref: PurchaseRef, cause: Cause): Promise<void> {
  const step = await transitionPurchase(trx, ref, { type: 'REINSTATED' }, cause)
  if (step.kind === 'applied') return
  throw new AppError(
    'wrong_state',
    `The purchase is ${step.status} and not all of its money is back, so it cannot be reinstated.`,
    { extra: { state: step.status } },
  )
}

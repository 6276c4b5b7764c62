import type { Tx } from '../db/connect.ts'
import { balancesOf, netOf, type PaymentBalance } from '../payments/balances.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError, invalidField, notFound } from '../shared/errors.ts'
import { formatMoney } from '../shared/money.ts'
import { purchaseVoucherCounts } from '../vouchers/voucher-counts.ts'
import { savePlan, transitionPurchase } from './change-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import {
  allowedActions,
  BulkPurchaseError,
  type PurchaseAggregate,
  type PurchaseRef,
  paymentsToDecide,
  wrongState,
} from './purchase-aggregate.ts'
import { raiseSingleFlag, resolveFlags } from './purchase-flags.ts'
import type { Cause } from './purchase-history.ts'
import type { FlagCode } from './purchase-machine.ts'
import { lockAggregate } from './purchase-store.ts'

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

/**
 * Staff withdraw a free purchase that was approved: all its vouchers become inactive. What was redeemed
 * before cannot be taken back, so staff get a flag about it.
 *
 * @throws BulkPurchaseError `wrong_state` unless it is free and PAID.
 */
export async function revokeComp(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  note: string | null,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const before = await lockAggregate(trx, ref)
  const plan = planPurchase(before, { type: 'event', event: { type: 'COMP_REVOKED' } })
  if (!plan.accepted) {
    throw wrongState('revoke', before.purchase.status, allowedActions(before, false))
  }
  await savePlan(trx, plan, { actor: caller.actor, cause: 'revoke', note })
  const { redeemed } = await purchaseVoucherCounts(trx, ref)
  if (redeemed === 0) return
  await raiseSingleFlag(trx, ref, 'too_few_unredeemed', {
    fact: 'revoked',
    detail: `${redeemed} of the ${before.purchase.quantity} vouchers ${redeemed === 1 ? 'was' : 'were'} redeemed before the purchase was revoked. Decide with the sponsor what to do.`,
  })
}

export type FlagResolution = {
  code: FlagCode
  note: string
  action: 'accept_payment' | 'reinstate' | null
  /** The payment to accept. Null: the only one that can be accepted. */
  paymentIntent: string | null
}

/**
 * Resolves the flags of a code for good, with a note and an optional action: `accept_payment` accepts one
 * payment of another amount as full payment, and the flag of another payment stays open until it is refunded;
 * `reinstate` reactivates the vouchers of a refunded purchase after its refund failed.
 *
 * @throws AppError `not_found` if no such flag is open, `wrong_state` if the action is not possible;
 *   `validation_failed` if several payments could be accepted and none is named.
 */
export async function resolveFlag(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  resolution: FlagResolution,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  assertFits(resolution)
  const before = await lockAggregate(trx, ref)
  const { code, note, action } = resolution
  const cause = { actor: caller.actor, cause: `resolve-flag ${code}`, note }
  const by = { actorId: caller.actor.id, note, action }
  if (action !== 'accept_payment') {
    await resolveFlags(trx, ref, code, null, by)
    if (action === 'reinstate') await reinstate(trx, ref, cause)
    return
  }
  const payment = paymentToAccept(before, resolution.paymentIntent)
  await resolveFlags(trx, ref, code, [payment.paymentIntent], by)
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

/** The payment that staff accept. The flag of a refunded one is withdrawn, so the records tell it apart. */
function paymentToAccept(before: PurchaseAggregate, named: string | null): PaymentBalance {
  const isMeant = ({ paymentIntent }: PaymentBalance) => named === null || paymentIntent === named
  const waiting = paymentsToDecide(before)
  const [payment, ...others] = waiting.filter(isMeant)
  if (payment !== undefined && others.length === 0) return payment
  const isRefunded = balancesOf(before.records).some(
    (one) =>
      isMeant(one) &&
      !one.isRecorded &&
      one.received > 0 &&
      netOf(one) <= 0 &&
      one.paymentIntent !== before.purchase.paymentIntentId,
  )
  if (payment === undefined && isRefunded) {
    throw new AppError('wrong_state', 'The payment was refunded, so it cannot be accepted.')
  }
  if (waiting.length === 0) throw notFound('open flag amount_mismatch on this purchase')
  const names = waiting.map(({ paymentIntent }) => paymentIntent).join(', ')
  throw invalidField(
    '/payment_intent',
    `Several payments wait for a decision: set it to one of: ${names}.`,
  )
}

function assertFits({ code, action, paymentIntent }: FlagResolution): void {
  if (paymentIntent !== null && action !== 'accept_payment') {
    throw invalidField('/payment_intent', 'goes only with the action accept_payment')
  }
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

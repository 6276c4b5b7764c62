import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { formatAmount } from '../core/currency.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { refused } from '../core/stripe-error.ts'
import type { RefundMode, World } from '../core/world.ts'
import { recordMovement } from '../objects/balance-transaction.ts'
import { charges } from '../objects/charge.ts'
import { disputes } from '../objects/dispute.ts'
import { destination, insertRefund, type RefundInput, refunds } from '../objects/refund.ts'
import { retireFraudWarnings } from './early-fraud-warning.ts'

export type RefundRequest = Omit<RefundInput, 'amount' | 'status'> & {
  /** Smallest unit; absent: all that is left. */
  amount?: number | undefined
  /** Absent: as `refundMode` says, at once by default. */
  status?: RefundMode | undefined
}

/**
 * Gives money back. A pending refund counts as refunded until it fails, as at Stripe.
 *
 * @throws StripeError when the charge is disputed, refunded already or has less left.
 * @see https://docs.stripe.com/api/refunds/create
 */
export function refundCharge(scope: Scope, chargeId: string, request: RefundRequest) {
  const charge = requireRow(scope, charges, chargeId)
  const amount = refundable(scope, charge, request.amount)
  const status = request.status ?? takeRefundMode(scope.world)
  const refund = insertRefund(scope, charge, { ...request, amount, status })
  const booked = status === 'succeeded' ? book(scope, refund, charge) : refund
  emitEvent(scope, 'refund.created', booked)
  const refunded = addToCharge(scope, charge, amount)
  emitEvent(scope, 'charge.refunded', refunded, charge)
  if (refunded.refunded) retireFraudWarnings(scope, charge.id)
  return booked
}

/** A pending refund reached the payer. @throws NotPossible unless it is pending. */
export function settleRefund(scope: Scope, id: string): Stripe.Refund {
  const refund = requireRow(scope, refunds, id)
  if (refund.status !== 'pending' && refund.status !== 'requires_action')
    throw new NotPossible(`Refund ${id} is ${refund.status}, not pending`)
  const charge = requireRow(scope, charges, idOf(refund.charge))
  const { pending_reason: _gone, ...rest } = refund
  const settled = scope.account.rows(refunds).replace({
    ...rest,
    status: 'succeeded',
    destination_details: destination(charge, 'succeeded'),
  })
  const booked = book(scope, settled, charge)
  emitUpdates(scope, refund, booked)
  return booked
}

/**
 * The payer's bank sent the money back to the merchant; it happens to succeeded refunds too, up to
 * a month later.
 *
 * @throws NotPossible when the refund failed or was canceled already.
 * @see https://docs.stripe.com/refunds#failed-refunds
 */
export function failRefund(scope: Scope, id: string, reason = 'lost_or_stolen_card') {
  const refund = requireRow(scope, refunds, id)
  if (refund.status === 'failed' || refund.status === 'canceled')
    throw new NotPossible(`Refund ${id} is ${refund.status}`)
  const charge = requireRow(scope, charges, idOf(refund.charge))
  const movement =
    refund.status === 'succeeded' ? giveBack(scope, refund, charge.description) : undefined
  const { pending_reason: _gone, ...rest } = refund
  const failed = scope.account.rows(refunds).replace({
    ...rest,
    status: 'failed',
    failure_reason: reason,
    ...(movement === undefined ? {} : { failure_balance_transaction: movement.id }),
  })
  addToCharge(scope, charge, -refund.amount)
  emitUpdates(scope, refund, failed)
  emitEvent(scope, 'refund.failed', failed)
  return failed
}

/** Takes back a refund that still waits for the payer; the caller has checked its state. */
export function cancelRefund(scope: Scope, id: string): Stripe.Refund {
  const refund = requireRow(scope, refunds, id)
  const canceled = changeRow(scope, refunds, id, { status: 'canceled' })
  addToCharge(scope, requireRow(scope, charges, idOf(refund.charge)), -refund.amount)
  emitUpdates(scope, refund, canceled)
  return canceled
}

function refundable(scope: Scope, charge: Stripe.Charge, wanted: number | undefined): number {
  if (isChargedBack(scope, charge.id))
    throw refused(`Charge ${charge.id} has been charged back; cannot issue a refund.`, {
      code: 'charge_disputed',
    })
  const left = charge.amount - charge.amount_refunded
  if (left === 0)
    throw refused(`Charge ${charge.id} has already been refunded.`, {
      code: 'charge_already_refunded',
    })
  const amount = wanted ?? left
  if (amount <= left) return amount
  const asked = formatAmount(amount, charge.currency)
  throw refused(
    `Refund amount (${asked}) is greater than unrefunded amount on charge (${formatAmount(left, charge.currency)})`,
    { param: 'amount' },
  )
}

// The money is back with the merchant, so it can be refunded.
const RETURNED = ['won', 'prevented']

/** Inquiries can be refunded, and so can a charge whose dispute was won. */
function isChargedBack({ account }: Scope, chargeId: string): boolean {
  const open = account
    .rows(disputes)
    .all((dispute) => idOf(dispute.charge) === chargeId && !RETURNED.includes(dispute.status))
  return open.some((dispute) => !dispute.is_charge_refundable)
}

function takeRefundMode(world: World): RefundMode {
  if (world.refundMode.times <= 0) return 'succeeded'
  world.refundMode.times -= 1
  return world.refundMode.mode
}

function addToCharge(scope: Scope, charge: Stripe.Charge, amount: number): Stripe.Charge {
  const total = requireRow(scope, charges, charge.id).amount_refunded + amount
  return changeRow(scope, charges, charge.id, {
    amount_refunded: total,
    refunded: total >= charge.amount,
  })
}

function book(scope: Scope, refund: Stripe.Refund, charge: Stripe.Charge): Stripe.Refund {
  const movement = recordMovement(scope, {
    amount: -refund.amount,
    currency: refund.currency,
    source: refund.id,
    type: charge.id.startsWith('py_') ? 'payment_refund' : 'refund',
    reportingCategory: 'refund',
    description: `REFUND FOR ${charge.description ?? charge.id}`,
  })
  return changeRow(scope, refunds, refund.id, { balance_transaction: movement.id })
}

function giveBack(scope: Scope, refund: Stripe.Refund, description: string | null) {
  return recordMovement(scope, {
    amount: refund.amount,
    currency: refund.currency,
    source: refund.id,
    type: 'refund_failure',
    reportingCategory: 'refund_failure',
    description,
  })
}

// Both names: `charge.refund.updated` is deprecated, but still sent.
function emitUpdates(scope: Scope, before: Stripe.Refund, after: Stripe.Refund): void {
  emitEvent(scope, 'refund.updated', after, before)
  emitEvent(scope, 'charge.refund.updated', after, before)
}

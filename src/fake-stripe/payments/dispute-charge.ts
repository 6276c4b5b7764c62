import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { recordMovement } from '../objects/balance-transaction.ts'
import { charges } from '../objects/charge.ts'
import { disputes, insertDispute } from '../objects/dispute.ts'
import { retireFraudWarnings } from './early-fraud-warning.ts'

export const OPEN_DISPUTE_STATUSES = [
  'needs_response',
  'under_review',
  'warning_needs_response',
  'warning_under_review',
] as const

export const CLOSED_DISPUTE_STATUSES = ['won', 'lost', 'warning_closed', 'prevented'] as const

export type OpenDisputeStatus = (typeof OPEN_DISPUTE_STATUSES)[number]
export type DisputeOutcome = (typeof CLOSED_DISPUTE_STATUSES)[number]

/** What Stripe charges the merchant for a chargeback in the US: 15.00. */
const DISPUTE_FEE = 1500

export type DisputeRequest = {
  /** Smallest unit; absent: what is not refunded. May differ from the charge, as in life. */
  amount?: number | undefined
  reason?: string | undefined
  status?: OpenDisputeStatus | undefined
}

/**
 * The payer disputes a charge. Unless it is only an inquiry, the money is taken from the merchant
 * at once.
 *
 * @throws NotPossible when the charge did not succeed.
 * @see https://docs.stripe.com/disputes/how-disputes-work
 */
export function disputeCharge(scope: Scope, chargeId: string, request: DisputeRequest = {}) {
  const charge = requireRow(scope, charges, chargeId)
  if (charge.status !== 'succeeded') throw new NotPossible(`Charge ${chargeId} is ${charge.status}`)
  const { amount = charge.amount - charge.amount_refunded, reason = 'fraudulent' } = request
  const status = request.status ?? 'needs_response'
  const dispute = insertDispute(scope, charge, { amount, reason, status })
  changeRow(scope, charges, charge.id, { disputed: true })
  emitEvent(scope, 'charge.dispute.created', dispute)
  retireFraudWarnings(scope, charge.id)
  return isInquiry(dispute) ? dispute : withdrawFunds(scope, dispute.id)
}

/**
 * The dispute moves on while it is open; an inquiry that becomes a chargeback takes the money.
 *
 * @throws NotPossible when it is closed.
 */
export function moveDispute(scope: Scope, id: string, status: OpenDisputeStatus): Stripe.Dispute {
  const before = openDispute(scope, id)
  const inquiry = status.startsWith('warning_')
  const after = changeRow(scope, disputes, id, { status, is_charge_refundable: inquiry })
  emitEvent(scope, 'charge.dispute.updated', after, before)
  return isInquiry(before) && !inquiry ? withdrawFunds(scope, id) : after
}

/**
 * The dispute ends. Won or prevented gives withdrawn money back.
 *
 * @throws NotPossible when it is closed already.
 */
export function closeDispute(scope: Scope, id: string, outcome: DisputeOutcome): Stripe.Dispute {
  const open = openDispute(scope, id)
  const taken = open.balance_transactions.reduce((sum, movement) => sum + movement.amount, 0)
  const closed = changeRow(scope, disputes, id, {
    status: outcome,
    is_charge_refundable: outcome !== 'lost' && open.is_charge_refundable,
  })
  const returns = outcome === 'won' || outcome === 'prevented'
  const final = returns && taken < 0 ? reinstateFunds(scope, id, -taken) : closed
  emitEvent(scope, 'charge.dispute.closed', final)
  return final
}

function openDispute(scope: Scope, id: string): Stripe.Dispute {
  const dispute = requireRow(scope, disputes, id)
  if (isClosedDispute(dispute)) throw new NotPossible(`Dispute ${id} is ${dispute.status}`)
  return dispute
}

export function isClosedDispute({ status }: Stripe.Dispute): boolean {
  return CLOSED_DISPUTE_STATUSES.some((closed) => closed === status)
}

function isInquiry({ status }: Stripe.Dispute): boolean {
  return status.startsWith('warning_')
}

function withdrawFunds(scope: Scope, id: string): Stripe.Dispute {
  const { amount } = requireRow(scope, disputes, id)
  const next = move(scope, id, -amount, DISPUTE_FEE, 'dispute')
  emitEvent(scope, 'charge.dispute.funds_withdrawn', next)
  return next
}

function reinstateFunds(scope: Scope, id: string, amount: number): Stripe.Dispute {
  const next = move(scope, id, amount, 0, 'dispute_reversal')
  emitEvent(scope, 'charge.dispute.funds_reinstated', next)
  return next
}

function move(scope: Scope, id: string, amount: number, fee: number, category: string) {
  const dispute = requireRow(scope, disputes, id)
  const movement = recordMovement(scope, {
    amount,
    fee,
    currency: dispute.currency,
    source: dispute.id,
    type: 'adjustment',
    reportingCategory: category,
    description: `Chargeback ${amount < 0 ? 'withdrawal' : 'reversal'} for ${idOf(dispute.charge)}`,
  })
  return changeRow(scope, disputes, id, {
    balance_transactions: [...dispute.balance_transactions, movement],
  })
}

import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { recordMovement } from '../objects/balance-transaction.ts'
import { payouts } from '../objects/payout.ts'

/** The money arrived. @throws NotPossible when the payout has ended already. */
export function settlePayout(scope: Scope, id: string): Stripe.Payout {
  const before = payoutIn(scope, id, ['pending', 'in_transit'])
  const after = changeRow(scope, payouts, id, {
    status: 'paid',
    trace_id: { status: 'supported', value: `FAKE${id.slice(-12).toUpperCase()}` },
  })
  emitEvent(scope, 'payout.paid', after, before)
  return after
}

/**
 * The bank sent the money back, also long after it seemed to have arrived.
 *
 * @param code such as `account_closed`. @see https://docs.stripe.com/api/payouts/failures
 * @throws NotPossible when the payout failed already or was canceled.
 */
export function failPayout(scope: Scope, id: string, code: string): Stripe.Payout {
  const before = payoutIn(scope, id, ['pending', 'in_transit', 'paid'])
  const after = changeRow(scope, payouts, id, {
    status: 'failed',
    failure_balance_transaction: takeBack(scope, before, 'payout_failure'),
    failure_code: code,
    failure_message: `The bank returned the payout (${code}).`,
    trace_id: { status: 'unsupported', value: null },
  })
  emitEvent(scope, 'payout.failed', after, before)
  return after
}

/** The merchant's own change of mind; only for a pending payout that was made by hand. */
export function cancelPayout(scope: Scope, before: Stripe.Payout): Stripe.Payout {
  const after = changeRow(scope, payouts, before.id, {
    status: 'canceled',
    failure_balance_transaction: takeBack(scope, before, 'payout_cancel'),
    trace_id: { status: 'unsupported', value: null },
  })
  emitEvent(scope, 'payout.canceled', after, before)
  return after
}

function payoutIn(scope: Scope, id: string, allowed: string[]): Stripe.Payout {
  const payout = requireRow(scope, payouts, id)
  if (allowed.includes(payout.status)) return payout
  throw new NotPossible(`Payout ${id} is ${payout.status}`)
}

function takeBack(
  scope: Scope,
  { id, amount, currency }: Stripe.Payout,
  type: 'payout_cancel' | 'payout_failure',
): string {
  return recordMovement(scope, {
    amount,
    currency,
    source: id,
    type,
    reportingCategory: 'payout_reversal',
    description: null,
  }).id
}

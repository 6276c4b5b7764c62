import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import type { Scope } from '../core/scope.ts'
import { balanceTransactions, recordMovement } from '../objects/balance-transaction.ts'
import { buildPayout, type PayoutFields, paidMovements, payouts } from '../objects/payout.ts'

/**
 * A new payout with its balance transaction. Unlike Stripe's, the fake's balance may go below zero,
 * so that a test need not sell anything first.
 */
export function createPayout(scope: Scope, fields: PayoutFields): Stripe.Payout {
  const payout = buildPayout(scope, fields)
  const movement = recordMovement(scope, {
    amount: -payout.amount,
    currency: payout.currency,
    source: payout.id,
    type: 'payout',
    reportingCategory: 'payout',
    description: payout.description,
  })
  const booked = scope.account.rows(payouts).insert({ ...payout, balance_transaction: movement.id })
  emitEvent(scope, 'payout.created', booked)
  return booked
}

/**
 * What Stripe's schedule does: pays out everything in a currency that no earlier payout took.
 *
 * @throws NotPossible when that is nothing, or a debt.
 */
export function payOutBalance(scope: Scope, currency: string): Stripe.Payout {
  const { account } = scope
  const taken = account.rows(paidMovements)
  const open = account
    .rows(balanceTransactions)
    .all(
      ({ id, currency: code, type }) =>
        code === currency && !type.startsWith('payout') && taken.get(id) === undefined,
    )
  const amount = open.reduce((sum, { net }) => sum + net, 0)
  if (amount <= 0) throw new NotPossible(`There is nothing to pay out in ${currency}`)
  const payout = createPayout(scope, {
    amount,
    currency,
    automatic: true,
    description: 'STRIPE PAYOUT',
    reconciliation_status: 'completed',
    status: 'in_transit',
  })
  for (const { id } of open) {
    changeRow(scope, balanceTransactions, id, { status: 'available' })
    taken.insert({ id, payout: payout.id })
  }
  // Stripe's list of what a payout paid out has the payout's own transaction too.
  if (typeof payout.balance_transaction === 'string')
    taken.insert({ id: payout.balance_transaction, payout: payout.id })
  return payout
}

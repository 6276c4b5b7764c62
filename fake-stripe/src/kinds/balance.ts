import type Stripe from 'stripe'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { currency, text, timeRange } from '../api/params.ts'
import { refused } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { balanceTransactions } from './balance-transaction.ts'
import { paidMovements, payouts } from './payout.ts'

const filters = {
  created: timeRange().optional(),
  currency: currency().optional(),
  payout: text().optional(),
  source: text().optional(),
  type: text().optional(),
} satisfies FiltersOf<Stripe.BalanceTransactionListParams>

/** @see https://docs.stripe.com/api/balance_transactions */
export const balanceTransactionResource: Resource = {
  kind: balanceTransactions.name,
  expandable: {},
  operations: [
    retrieveOperation('/v1/balance_transactions/:id', balanceTransactions),
    listOperation({
      path: '/v1/balance_transactions',
      table: balanceTransactions,
      filters,
      where({ created, currency: code, payout, source, type }, call) {
        if (payout !== undefined) requireAutomatic(call, payout)
        const within = createdWithin(created)
        const taken = call.account.rows(paidMovements)
        return (movement) =>
          within(movement) &&
          (code ?? movement.currency) === movement.currency &&
          (payout === undefined || taken.get(movement.id)?.payout === payout) &&
          (source ?? idOf(movement.source)) === idOf(movement.source) &&
          (type ?? movement.type) === movement.type
      },
    }),
  ],
}

function requireAutomatic(call: Call, id: string): void {
  if (existing(call, payouts, id, 'payout').automatic) return
  throw refused(
    'Balance transaction history can only be filtered on automatic transfers, not manual.',
  )
}

import type Stripe from 'stripe'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { currency, group, text, timeRange } from '../api/params.ts'
import { refused } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { balanceTransactions } from './balance-transaction.ts'
import { paidMovements, payouts } from './payout.ts'

/** @see https://docs.stripe.com/api/balance */
export const balanceResource: Resource = {
  kind: 'balance',
  expandable: {},
  operations: [
    operation({
      method: 'GET',
      path: '/v1/balance',
      returns: 'balance',
      params: group({}),
      run: currentBalance,
    }),
  ],
}

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
  // A charge, refund, dispute or payout: found by its id.
  expandable: { source: { kind: 'source' } },
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

function currentBalance(scope: Scope): Stripe.Balance {
  const { account, world } = scope
  const now = world.clock.seconds()
  const available = new Map([[account.profile.defaultCurrency, 0]])
  const pending = new Map(available)
  for (const movement of account.rows(balanceTransactions).all()) {
    const sums = isAvailable(movement, now) ? available : pending
    const { currency: code, net } = movement
    sums.set(code, (sums.get(code) ?? 0) + net)
  }
  return {
    object: 'balance',
    available: amounts(available),
    livemode: account.livemode,
    pending: amounts(pending),
  }
}

/** A payout is deducted immediately; other money is pending until its `available_on`. */
function isAvailable(
  { status, available_on: availableOn, type }: Stripe.BalanceTransaction,
  now: number,
): boolean {
  return status === 'available' || availableOn <= now || type.startsWith('payout')
}

function amounts(sums: ReadonlyMap<string, number>): Stripe.Balance.Available[] {
  return [...sums]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, amount]) => ({ amount, currency: code, source_types: { card: amount } }))
}

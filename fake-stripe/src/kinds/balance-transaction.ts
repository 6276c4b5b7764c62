import type Stripe from 'stripe'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

export const balanceTransactions = defineTable<Stripe.BalanceTransaction>('balance_transaction')

type Movement = {
  /** Positive: added to the merchant's balance. */
  amount: number
  /** Stripe's own fee, never negative. In the currency of the balance, or computed from its amount. */
  fee?: number | ((settled: number) => number)
  /** Of the amount. If the account converts it, the balance has another one. */
  currency: string
  source: string
  type: Stripe.BalanceTransaction.Type
  reportingCategory: string
  description: string | null
}

const TWO_DAYS = 2 * 24 * 60 * 60

/**
 * Records money that is added to or taken from the account's balance.
 *
 * @see https://docs.stripe.com/currencies/conversions
 */
export function recordMovement(
  { account, world }: Scope,
  movement: Movement,
): Stripe.BalanceTransaction {
  const { source, type, reportingCategory, description } = movement
  const conversion = account.conversions.get(movement.currency)
  const currency = conversion?.into ?? movement.currency
  const amount = Math.round(movement.amount * (conversion?.rate ?? 1))
  const fee = typeof movement.fee === 'function' ? movement.fee(amount) : (movement.fee ?? 0)
  const created = world.clock.seconds()
  const feeDetail = {
    amount: fee,
    application: null,
    currency,
    description: 'Stripe processing fees',
    type: 'stripe_fee',
  }
  return account.rows(balanceTransactions).insert({
    id: fakeId('txn_3'),
    object: 'balance_transaction',
    amount,
    available_on: created + TWO_DAYS,
    balance_type: 'payments',
    created,
    currency,
    description,
    exchange_rate: conversion?.rate ?? null,
    fee,
    fee_details: fee === 0 ? [] : [feeDetail],
    net: amount - fee,
    reporting_category: reportingCategory,
    source,
    status: 'pending',
    type,
  })
}

/** Stripe's list price in the US: 2.9 % and 30 of the smallest unit. */
export function processingFee(amount: number): number {
  return Math.min(Math.round(amount * 0.029) + 30, amount)
}

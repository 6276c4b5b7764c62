import type { BulkPurchase } from './bulk-purchase.ts'
import type { PaymentBalance } from './payment-store.ts'

/** A purchase's money in its own currency, summed over its payments. Integer minor units. */
export type PurchaseMoney = {
  received: number
  refunded: number
  /** Refunds that Stripe has taken but not yet sent. */
  refundPending: number
  lost: number
  /** received − refunded − lost */
  net: number
  /** What a paid purchase owes us. */
  due: number
  disputed: boolean
}

/**
 * Sums what can be summed: a payment in another currency counts for nothing until staff accept it,
 * and then as the amount that they accepted.
 */
export function sumMoney(purchase: BulkPurchase, balances: PaymentBalance[]): PurchaseMoney {
  const { accepted } = purchase
  const counted = balances.filter(
    (balance) =>
      balance.currency === purchase.currency || balance.paymentIntent === accepted?.paymentIntentId,
  )
  const sum = (of: (balance: PaymentBalance) => number) =>
    counted.reduce((total, balance) => total + of(balance), 0)
  const received = sum((balance) => balance.received)
  const refunded = sum((balance) => balance.refunded)
  const lost = sum((balance) => balance.lost)
  return {
    received,
    refunded,
    refundPending: sum((balance) => balance.refundPending),
    lost,
    net: received - refunded - lost,
    due: accepted === null ? purchase.totalAmount : Math.min(purchase.totalAmount, accepted.amount),
    disputed: counted.some((balance) => balance.disputed),
  }
}

/**
 * How many codes in all must be off when `net` is left of what was due: whole codes only, so money
 * that does not reach a code's price turns none off. `floor((total − net) / unit_amount)`, written
 * so that it also holds for an accepted amount that the quantity does not divide.
 */
export function codesToTurnOff(purchase: BulkPurchase, money: PurchaseMoney, net: number): number {
  const missing = Math.max(0, money.due - net)
  if (missing === 0 || money.due === 0) return 0
  // Both factors are at most eight digits, so the product is exact in a double.
  return Math.min(purchase.quantity, Math.floor((missing * purchase.quantity) / money.due))
}

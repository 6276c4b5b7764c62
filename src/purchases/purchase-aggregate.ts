import { balancesOf, netOf, type PaymentBalance, sumBalances } from '../payments/balances.ts'
import type { PaymentRecords } from '../payments/payment-records.ts'
import type { VoucherTarget } from '../vouchers/align-vouchers.ts'
import type { VoucherTerms } from '../vouchers/voucher-terms.ts'
import type { FlagCode } from './purchase-flags.ts'
import type { PurchaseContext, PurchaseStatus } from './purchase-machine.ts'

/** A row of bulk_purchases. Amounts are integer minor units of `currency`. */
export type BulkPurchase = {
  conferenceId: string
  id: string
  sponsorId: string | null
  status: PurchaseStatus
  quantity: number
  unitAmount: number
  totalAmount: number
  currency: string
  /** A sponsor may change the quantity only if the catalogue set the price. */
  priceSource: 'catalogue' | 'staff'
  description: string
  reference: string | null
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  amountReceived: number
  amountRefunded: number
  /** The payment that made it PAID. */
  paymentIntentId: string | null
  /** A payment of another amount that staff accepted, and that amount. */
  accepted: { paymentIntentId: string; amount: number } | null
  failure: { code: string; message: string } | null
  reconcileTicket: number
  appliedTicket: number
  reconciledAt: Date | null
  requestedBy: string
  approvedBy: string | null
  createdAt: Date
  updatedAt: Date
  paidAt: Date | null
  refundedAt: Date | null
}

/** A purchase with everything that decisions about it depend on, loaded once under its lock. */
export type PurchaseAggregate = {
  purchase: BulkPurchase
  records: PaymentRecords
  /** Every flag that was raised, resolved or not. */
  flags: readonly RaisedFlag[]
  /** What was last required of its vouchers. Null: none were issued. */
  target: StoredTarget | null
}

/** `isAligned` is false for vouchers that were issued before their target was stored. */
export type StoredTarget = VoucherTarget & { isAligned: boolean }

export type RaisedFlag = {
  code: FlagCode
  fact: string
  detail: string
  /** ISO 8601. */
  raisedAt: string
  isOpen: boolean
}

/** What a purchase has received and owes. Integer minor units of `currency`. */
export type PurchaseMoney = {
  /** The purchase's currency, or that of the payment that staff accepted instead. */
  currency: string
  refundPending: number
  /** received − succeeded refunds − lost disputes */
  net: number
  /** What a paid purchase owes us: the total, or the amount that staff accepted instead. */
  due: number
  /** Whether a dispute is open. */
  disputed: boolean
}

/**
 * Amounts of different currencies are never added or compared: a payment in another currency does not
 * count until staff accept it, and then only payments in its currency count.
 */
function moneyOf(purchase: BulkPurchase, balances: PaymentBalance[]): PurchaseMoney {
  const { accepted, totalAmount } = purchase
  const payment = balances.find(({ paymentIntent }) => paymentIntent === accepted?.paymentIntentId)
  const currency = payment?.currency ?? purchase.currency
  const { net, refundPending, disputed } = sumBalances(balances, currency)
  const isOwn = currency === purchase.currency
  const owed = accepted === null ? totalAmount : accepted.amount
  const due = isOwn ? Math.min(totalAmount, owed) : owed
  return { currency, net, refundPending, disputed, due }
}

/** What the machine's guards compare. */
export function machineContext({ purchase, records }: PurchaseAggregate): PurchaseContext {
  const balances = balancesOf(records)
  const { due, net } = moneyOf(purchase, balances)
  return {
    total: purchase.totalAmount,
    currency: purchase.currency,
    due,
    net,
    attempts: {
      open: records.attempts.some(({ state }) => state === 'creating' || state === 'open'),
      pending: records.attempts.some(({ state }) => state === 'processing'),
      // A payment that was refunded or lost completely does not count, even if its session is paid.
      paid: balances.some((balance) => netOf(balance) > 0),
    },
  }
}

/**
 * How many vouchers in all must be inactive if `net` is left of the amount due. It counts whole
 * vouchers only: a refund below the price of one deactivates none. This is
 * `floor((total − net) / unit_amount)`, written so that it also holds for an accepted amount that the
 * quantity does not divide.
 */
function inactiveCount(quantity: number, due: number, net: number): number {
  const missing = Math.max(0, due - net)
  if (missing === 0 || due === 0) return 0
  // Both factors are at most eight digits, so the product is exact in a double.
  return Math.min(quantity, Math.floor((missing * quantity) / due))
}

/**
 * What the money and the disputes of a purchase require of its vouchers, as they stand now. Null while
 * it has no vouchers.
 */
export function targetOf({ purchase, records }: PurchaseAggregate): VoucherTarget | null {
  const { status, quantity } = purchase
  if (status !== 'PAID' && status !== 'REFUNDED') return null
  const { due, net, refundPending, disputed } = moneyOf(purchase, balancesOf(records))
  if (status === 'REFUNDED') return { inactive: quantity, frozen: quantity, disputed }
  return {
    inactive: inactiveCount(quantity, due, net),
    frozen: inactiveCount(quantity, due, net - refundPending),
    disputed,
  }
}

import type { Conference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import { AppError, type AppErrorOptions, type ErrorCode } from '../shared/errors.ts'
import { attemptsOf, type PaymentAttempt } from './payment-attempt-store.ts'
import { balancesOf, type PaymentBalance } from './payment-store.ts'
import {
  decide,
  type PurchaseContext,
  type PurchaseEvent,
  type PurchaseStatus,
} from './purchase-machine.ts'
import { type BulkPurchase, lockPurchase } from './purchase-store.ts'

/** A locked purchase with everything that a decision about it is made from. */
export type PurchaseAggregate = {
  purchase: BulkPurchase
  attempts: PaymentAttempt[]
  balances: PaymentBalance[]
  money: PurchaseMoney
}

export async function loadAggregate(trx: Tx, purchase: BulkPurchase): Promise<PurchaseAggregate> {
  const [known] = await loadAggregates(trx, purchase.conferenceId, [purchase])
  if (known === undefined) throw new Error(`Purchase ${purchase.id} has no case`)
  return known
}

/** The same for the purchases of a list, in a fixed number of queries. */
export async function loadAggregates(
  trx: Tx,
  conferenceId: string,
  purchases: BulkPurchase[],
): Promise<PurchaseAggregate[]> {
  const ids = purchases.map(({ id }) => id)
  const attempts = await attemptsOf(trx, conferenceId, ids)
  const balances = await balancesOf(trx, conferenceId, ids)
  return purchases.map((purchase) => {
    const own = balances.get(purchase.id) ?? []
    return {
      purchase,
      attempts: attempts.get(purchase.id) ?? [],
      balances: own,
      money: sumMoney(purchase, own),
    }
  })
}

/** What the machine's guards see. */
export function machineContext({
  purchase,
  attempts,
  balances,
  money,
}: PurchaseAggregate): PurchaseContext {
  return {
    total: purchase.totalAmount,
    currency: purchase.currency,
    due: money.due,
    net: money.net,
    attempts: {
      open: attempts.some(({ state }) => state === 'creating' || state === 'open'),
      pending: attempts.some(({ payment }) => payment === 'pending'),
      // Money that went back completely is no longer there, whatever the session says.
      paid: balances.some(({ received, refunded, lost }) => received > refunded + lost),
    },
  }
}

/** What a person may do with a purchase, as `allowed_actions` and the 409s name it. */
export const PURCHASE_ACTIONS = [
  'update',
  'checkout',
  'cancel',
  'approve',
  'refund',
  'reconcile',
  'resolve_flag',
] as const

type PurchaseAction = (typeof PURCHASE_ACTIONS)[number]

const SPONSOR_ACTIONS: readonly PurchaseAction[] = ['update', 'checkout', 'cancel']

/** What may still be sent back of a payment. A disputed one is the bank's to decide. */
export function refundable(balance: PaymentBalance): number {
  if (balance.disputed) return 0
  return Math.max(0, balance.received - balance.refunded - balance.refundPending - balance.lost)
}

/**
 * What the caller could do now. Asks the machine, so that the list and the refusals cannot differ.
 *
 * @param flagged whether a flag is open.
 */
export function allowedActions(
  known: PurchaseAggregate,
  flagged: boolean,
  isSponsor: boolean,
): PurchaseAction[] {
  const { purchase, balances } = known
  const context = machineContext(known)
  const { open, pending, paid } = context.attempts
  const can = (event: PurchaseEvent) => decide(purchase.status, context, event).kind === 'applied'
  const possible: Record<PurchaseAction, boolean> = {
    update: purchase.status === 'PENDING' && !open,
    checkout: can({ type: 'CHECKOUT_OPENED' }) && !pending && !paid,
    cancel: can({ type: 'CANCELLED' }),
    approve: can({ type: 'COMP_APPROVED' }),
    refund: balances.some((balance) => refundable(balance) > 0),
    reconcile: known.attempts.length > 0,
    resolve_flag: flagged,
  }
  return PURCHASE_ACTIONS.filter(
    (action) => possible[action] && (!isSponsor || SPONSOR_ACTIONS.includes(action)),
  )
}

/**
 * Refuses to begin a try to pay, by the page or by a saved card, where none may be begun.
 *
 * @returns the purchase's tries so far.
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`.
 */
export async function assertPayable(
  trx: Tx,
  conference: Conference,
  purchase: BulkPurchase,
  action: 'checkout' | 'pay',
  isSponsor: boolean,
): Promise<PaymentAttempt[]> {
  const known = await loadAggregate(trx, purchase)
  const { pending, paid } = machineContext(known).attempts
  const isUnpaid = purchase.status !== 'PAID' && purchase.status !== 'REFUNDED'
  if (isUnpaid && pending) {
    throw paymentInProgress('A bank payment is under way; wait until it arrives or fails.')
  }
  if (isUnpaid && paid) {
    throw paymentInProgress('A payment arrived that staff have to accept or refund first.')
  }
  const allowed = allowedActions(known, false, isSponsor)
  if (!allowed.includes('checkout')) throw wrongState(action, purchase.status, allowed)
  if (conference.livemode === null) {
    throw new BulkPurchaseError('stripe_key_missing', 'The conference has no Stripe key yet.')
  }
  return known.attempts
}

/** An operation on a purchase was refused; nothing was changed. */
export class BulkPurchaseError extends AppError {
  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    super(code, detail, options)
    this.name = 'BulkPurchaseError'
  }
}

/** A 409 that names the state and what may be done in it. */
export function wrongState(
  action: PurchaseAction | 'pay',
  status: PurchaseStatus,
  allowed: readonly PurchaseAction[],
): BulkPurchaseError {
  const can = allowed.length === 0 ? 'nothing' : allowed.join(', ')
  return new BulkPurchaseError(
    'wrong_state',
    `The purchase is ${status}, which does not allow ${action}; allowed: ${can}.`,
    { extra: { state: status, allowed_actions: allowed } },
  )
}

/** A 409 while money is on its way, or has come and waits for staff. */
export function paymentInProgress(detail: string): BulkPurchaseError {
  return new BulkPurchaseError('payment_in_progress', detail)
}

/** A purchase's money in its own currency, summed over its payments. Integer minor units. */
type PurchaseMoney = {
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
function sumMoney(purchase: BulkPurchase, balances: PaymentBalance[]): PurchaseMoney {
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
export function vouchersToDeactivate(
  purchase: BulkPurchase,
  money: PurchaseMoney,
  net: number,
): number {
  const missing = Math.max(0, money.due - net)
  if (missing === 0 || money.due === 0) return 0
  // Both factors are at most eight digits, so the product is exact in a double.
  return Math.min(purchase.quantity, Math.floor((missing * purchase.quantity) / money.due))
}

/**
 * How many codes of the purchase have to be off for the money that went back; all of a refunded one.
 * Locks the purchase, so that the answer holds until the transaction ends.
 */
export async function requiredInactiveCount(trx: Tx, ref: PurchaseRef): Promise<number> {
  const purchase = await lockPurchase(trx, ref)
  if (purchase.status === 'REFUNDED') return purchase.quantity
  const { money } = await loadAggregate(trx, purchase)
  return vouchersToDeactivate(purchase, money, money.net)
}

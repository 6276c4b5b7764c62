import type { Conference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { AppError, type AppErrorOptions, type ErrorCode } from '../shared/errors.ts'
import { attemptsOf, type PaymentAttempt } from './payment-attempt-store.ts'
import { balancesOf, type PaymentBalance } from './payment-store.ts'
import {
  decide,
  type PurchaseContext,
  type PurchaseEvent,
  type PurchaseStatus,
} from './purchase-machine.ts'
import type { BulkPurchase } from './purchase-store.ts'

/** A locked purchase with everything that decisions about it depend on. */
export type PurchaseAggregate = {
  purchase: BulkPurchase
  attempts: PaymentAttempt[]
  balances: PaymentBalance[]
  money: PurchaseMoney
}

export async function loadAggregate(trx: Tx, purchase: BulkPurchase): Promise<PurchaseAggregate> {
  const [aggregate] = await loadAggregates(trx, purchase.conferenceId, [purchase])
  if (aggregate === undefined) throw new Error(`Purchase ${purchase.id} was not loaded`)
  return aggregate
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

/** The aggregate of a purchase that was just created. */
export function newAggregate(purchase: BulkPurchase): PurchaseAggregate {
  return { purchase, attempts: [], balances: [], money: sumMoney(purchase, []) }
}

/** What the machine's guards compare. */
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
      // A payment that was refunded or lost completely does not count, even if its session is paid.
      paid: balances.some(({ received, refunded, lost }) => received > refunded + lost),
    },
  }
}

/** What a person can do with a purchase. `allowed_actions` and the 409 errors use these names. */
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

/** How much of a payment can still be refunded: nothing while it is disputed. */
export function refundable(balance: PaymentBalance): number {
  if (balance.disputed) return 0
  return Math.max(0, balance.received - balance.refunded - balance.refundPending - balance.lost)
}

/**
 * What the caller can do now. The machine decides it, so that this list and the errors agree.
 *
 * @param flagged whether a flag is open.
 */
export function allowedActions(
  aggregate: PurchaseAggregate,
  flagged: boolean,
  isSponsor: boolean,
): PurchaseAction[] {
  const { purchase, attempts, balances } = aggregate
  const context = machineContext(aggregate)
  const { open, pending, paid } = context.attempts
  const can = (event: PurchaseEvent) => decide(purchase.status, context, event).kind === 'applied'
  const possible: Record<PurchaseAction, boolean> = {
    update: purchase.status === 'PENDING' && !open,
    checkout: can({ type: 'CHECKOUT_OPENED' }) && !pending && !paid,
    cancel: can({ type: 'CANCELLED' }),
    approve: can({ type: 'COMP_APPROVED' }),
    refund: balances.some((balance) => refundable(balance) > 0),
    reconcile: attempts.length > 0,
    resolve_flag: flagged,
  }
  return PURCHASE_ACTIONS.filter(
    (action) => possible[action] && (!isSponsor || SPONSOR_ACTIONS.includes(action)),
  )
}

/**
 * Refuses a new payment attempt, by the payment page or by a saved card, unless the purchase allows it.
 *
 * @returns the attempts so far.
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`.
 */
export async function assertPayable(
  trx: Tx,
  conference: Conference,
  purchase: BulkPurchase,
  action: 'checkout' | 'pay',
  isSponsor: boolean,
): Promise<PaymentAttempt[]> {
  const aggregate = await loadAggregate(trx, purchase)
  const { pending, paid } = machineContext(aggregate).attempts
  const isUnpaid = purchase.status !== 'PAID' && purchase.status !== 'REFUNDED'
  if (isUnpaid && pending) {
    throw paymentInProgress('A bank payment is pending. Wait until it succeeds or fails.')
  }
  if (isUnpaid && paid) {
    throw paymentInProgress('A payment arrived. Staff must first accept or refund it.')
  }
  const allowed = allowedActions(aggregate, false, isSponsor)
  if (!allowed.includes('checkout')) throw wrongState(action, purchase.status, allowed)
  if (conference.livemode === null) {
    throw new BulkPurchaseError(
      'stripe_key_missing',
      'The conference has no Stripe key. An operator must set one.',
    )
  }
  return aggregate.attempts
}

/** The service refused an operation on a purchase. Nothing was changed. */
export class BulkPurchaseError extends AppError {
  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    super(code, detail, options)
    this.name = 'BulkPurchaseError'
  }
}

/** A 409 with the status and the actions that are possible in it. */
export function wrongState(
  action: PurchaseAction | 'pay',
  status: PurchaseStatus,
  allowed: readonly PurchaseAction[],
): BulkPurchaseError {
  const detail = `${ACTION_NOUNS[action]} is not possible: ${reasonOf(action, status)}.`
  const extra = { state: status, allowed_actions: allowed }
  return new BulkPurchaseError('wrong_state', detail, { extra })
}

const ACTION_NOUNS: Record<PurchaseAction | 'pay', string> = {
  update: 'An update',
  checkout: 'Checkout',
  pay: 'Payment by a saved card',
  cancel: 'Cancellation',
  approve: 'Approval',
  refund: 'A refund',
  reconcile: 'A refresh',
  resolve_flag: 'Resolving a flag',
}

function reasonOf(action: PurchaseAction | 'pay', status: PurchaseStatus): string {
  if (action === 'approve' && status === 'PENDING') return 'the purchase is not free'
  if (action === 'update' && status === 'PENDING') return 'a payment attempt is open'
  if (action === 'refund' && (status === 'PAID' || status === 'REFUNDED')) {
    return 'nothing is left to refund'
  }
  const isUnpaid = status === 'PENDING' || status === 'PROCESSING'
  return isUnpaid ? `the purchase is ${status}` : `the purchase is already ${status}`
}

/** A 409 while a payment is pending, or has arrived and staff must decide about it. */
export function paymentInProgress(detail: string): BulkPurchaseError {
  return new BulkPurchaseError('payment_in_progress', detail)
}

/** Stripe stores an error under an attempt's idempotency key, and the next attempt failed as well. */
export function storedStripeError(): BulkPurchaseError {
  const detail = 'Stripe stored an error under this idempotency key. Retry the request.'
  return new BulkPurchaseError('stripe_failed', detail, { retryAfterSeconds: 1 })
}

/** The sums over a purchase's payments in its own currency. Integer minor units. */
type PurchaseMoney = {
  received: number
  refunded: number
  /** Refunds that Stripe accepted and has not sent yet. */
  refundPending: number
  lost: number
  /** received − refunded − lost */
  net: number
  /** What a paid purchase owes us: the total, or the amount that staff accepted. */
  due: number
  disputed: boolean
}

/**
 * Amounts of different currencies are never added: a payment in another currency does not count until
 * staff accept it; then its amount counts.
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
 * How many vouchers in all must be inactive if `net` is left of the amount due. It counts whole
 * vouchers only: a refund below the price of one deactivates none. This is
 * `floor((total − net) / unit_amount)`, written so that it also holds for an accepted amount that the
 * quantity does not divide.
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

import type { Conference } from '../conferences/conference-store.ts'
import { balancesOf, refundable } from '../payments/balances.ts'
import { AppError, type AppErrorOptions, type ErrorCode } from '../shared/errors.ts'
import { machineContext, type PurchaseAggregate } from './purchase-aggregate.ts'
import { decide, type PurchaseEvent, type PurchaseStatus } from './purchase-machine.ts'

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

/**
 * What the caller can do now. The machine decides it, so that this list and the errors agree.
 *
 * @param hasOpenFlag - for `resolve_flag`; the errors leave it out.
 */
export function allowedActions(
  aggregate: PurchaseAggregate,
  isSponsor: boolean,
  hasOpenFlag = false,
): PurchaseAction[] {
  const { purchase, records } = aggregate
  const context = machineContext(aggregate)
  const { open, pending, paid } = context.attempts
  const can = (event: PurchaseEvent) => decide(purchase.status, context, event).kind === 'applied'
  const isPriceOpen = !isSponsor || purchase.priceSource === 'catalogue'
  const possible: Record<PurchaseAction, boolean> = {
    update: purchase.status === 'PENDING' && !open && isPriceOpen,
    checkout: can({ type: 'CHECKOUT_OPENED' }) && !pending && !paid,
    cancel: can({ type: 'CANCELLED' }),
    approve: can({ type: 'COMP_APPROVED' }),
    refund: balancesOf(records).some((balance) => refundable(balance) > 0),
    reconcile: records.attempts.length > 0,
    resolve_flag: hasOpenFlag,
  }
  return PURCHASE_ACTIONS.filter(
    (action) => possible[action] && (!isSponsor || SPONSOR_ACTIONS.includes(action)),
  )
}

/**
 * Refuses a new payment attempt, by the payment page or by a saved card, unless the purchase allows it.
 *
 * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`.
 */
export function assertPayable(
  conference: Conference,
  aggregate: PurchaseAggregate,
  action: 'checkout' | 'pay',
  isSponsor: boolean,
): void {
  const { status } = aggregate.purchase
  const { pending, paid } = machineContext(aggregate).attempts
  const isUnpaid = status !== 'PAID' && status !== 'REFUNDED'
  if (isUnpaid && pending) {
    throw new BulkPurchaseError(
      'payment_in_progress',
      'A bank payment is pending. Wait until it succeeds or fails.',
    )
  }
  if (isUnpaid && paid) {
    throw new BulkPurchaseError(
      'payment_in_progress',
      'A payment arrived. Staff must first accept or refund it.',
    )
  }
  const allowed = allowedActions(aggregate, isSponsor)
  if (!allowed.includes('checkout')) throw wrongState(action, status, allowed)
  if (conference.livemode === null) {
    throw new BulkPurchaseError(
      'stripe_key_missing',
      'The conference has no Stripe key. An operator must set one.',
    )
  }
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

import type { PaymentBalance } from './payment-store.ts'
import { contextOf, type PurchaseCase } from './purchase-context.ts'
import { decide, type PurchaseEvent } from './purchase-machine.ts'

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

export type PurchaseAction = (typeof PURCHASE_ACTIONS)[number]

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
  known: PurchaseCase,
  flagged: boolean,
  isSponsor: boolean,
): PurchaseAction[] {
  const { purchase, balances } = known
  const context = contextOf(known)
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

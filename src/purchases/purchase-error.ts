import { AppError, type AppErrorOptions, type ErrorCode } from '../shared/errors.ts'
import type { PurchaseAction } from './allowed-actions.ts'
import type { PurchaseStatus } from './purchase-machine.ts'

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

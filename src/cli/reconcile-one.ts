import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../http/caller.ts'
import type { BulkPurchaseService } from '../purchases/bulk-purchase-service.ts'
import type { PaymentGateway } from '../purchases/payment-gateway.ts'
import { type PurchaseBody, viewPurchase } from '../purchases/purchase-view.ts'
import { reconcileAndComplete } from '../purchases/reconcile-and-complete.ts'

export type Reconciled = { before: PurchaseBody['status']; purchase: PurchaseBody }

type Deps = { db: Db; gateway: PaymentGateway; purchases: BulkPurchaseService }

/**
 * Reads one purchase anew from Stripe, as `POST …/reconcile` does, and tells what it was before.
 *
 * @param paymentIntent a payment that the purchase may not know yet.
 * @throws AppError `not_found`, and those of PaymentGateway.
 */
export async function reconcileOne(
  deps: Deps,
  caller: Caller,
  id: string,
  paymentIntent: string | null,
): Promise<Reconciled> {
  const { status: before } = await withTenant(deps.db, caller, (trx) =>
    viewPurchase(trx, caller, id),
  )
  return { before, purchase: await reconcileAndComplete(deps, caller, id, paymentIntent) }
}

import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../http/caller.ts'
import type { BulkPurchaseService } from '../purchases/bulk-purchase-service.ts'
import type { PaymentGateway } from '../purchases/payment-gateway.ts'
import { type PurchaseBody, viewPurchase } from '../purchases/purchase-view.ts'
import { reconcilePurchase } from '../purchases/reconcile.ts'

export type Reconciled = { before: PurchaseBody['status']; purchase: PurchaseBody }

type Deps = { db: Db; gateway: PaymentGateway; purchases: BulkPurchaseService }

/**
 * Reads one purchase anew from Stripe, as `POST …/reconcile` does: a paid one that lacks codes gets
 * those that are missing.
 *
 * @throws AppError `not_found`, and those of PaymentGateway.
 */
export async function reconcileOne(deps: Deps, caller: Caller, id: string): Promise<Reconciled> {
  const { db } = deps
  const ref = { conferenceId: caller.conferenceId, purchaseId: id }
  const view = () => withTenant(db, caller, (trx) => viewPurchase(trx, caller, id))
  const { status: before } = await view()
  await reconcilePurchase(deps, ref, {
    cause: { actor: caller.actor, cause: 'reconcile' },
    warnings: true,
  })
  const purchase = await view()
  if (purchase.status !== 'PAID' || purchase.vouchers.issued >= purchase.quantity) {
    return { before, purchase }
  }
  await deps.purchases.fulfillBulkPurchase(ref)
  return { before, purchase: await view() }
}

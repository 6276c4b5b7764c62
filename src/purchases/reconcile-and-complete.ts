import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../http/caller.ts'
import type { BulkPurchaseService } from './bulk-purchase-service.ts'
import type { PaymentGateway } from './payment-gateway.ts'
import { type PurchaseBody, viewPurchase } from './purchase-view.ts'
import { reconcilePurchase } from './reconcile.ts'

type Deps = { db: Db; gateway: PaymentGateway; purchases: BulkPurchaseService }

/**
 * What staff ask for by hand: reads the purchase anew from Stripe, warnings of fraud included, and
 * makes the codes that a paid one lacks.
 *
 * @param paymentIntent a payment that names the purchase at Stripe and that it may not know yet.
 * @throws AppError `not_found`, and those of PaymentGateway.
 */
export async function reconcileAndComplete(
  deps: Deps,
  caller: Caller,
  purchaseId: string,
  paymentIntent: string | null = null,
): Promise<PurchaseBody> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const view = () => withTenant(deps.db, caller, (trx) => viewPurchase(trx, caller, purchaseId))
  const cause = { actor: caller.actor, cause: 'reconcile' }
  const hintedPaymentIntents = paymentIntent === null ? [] : [paymentIntent]
  await reconcilePurchase(deps, ref, { cause, warnings: true, hintedPaymentIntents })
  const body = await view()
  const isShort = body.status === 'PAID' && body.vouchers.issued < body.quantity
  if (!isShort) return body
  await deps.purchases.fulfillBulkPurchase(ref)
  return view()
}

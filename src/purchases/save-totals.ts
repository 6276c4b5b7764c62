import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { loadCase } from './purchase-context.ts'
import { lockPurchase, updatePurchase } from './purchase-store.ts'

/** Writes the sums over the payments on the purchase, where people read and filter them. */
export async function saveTotals(trx: Tx, ref: PurchaseRef): Promise<void> {
  const { money } = await loadCase(trx, await lockPurchase(trx, ref))
  await updatePurchase(trx, ref, {
    amount_received: money.received,
    amount_refunded: money.refunded,
  })
}

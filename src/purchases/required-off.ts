import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { loadCase } from './purchase-context.ts'
import { codesToTurnOff } from './purchase-money.ts'
import { lockPurchase } from './purchase-store.ts'

/**
 * How many codes of the purchase have to be off for the money that went back; all of a refunded one.
 * Locks the purchase, so that the answer holds until the transaction ends.
 */
export async function requiredOff(trx: Tx, ref: PurchaseRef): Promise<number> {
  const purchase = await lockPurchase(trx, ref)
  if (purchase.status === 'REFUNDED') return purchase.quantity
  const { money } = await loadCase(trx, purchase)
  return codesToTurnOff(purchase, money, money.net)
}

import type { Tx } from '../db/connect.ts'
import type { BulkPurchase } from './bulk-purchase.ts'
import { type CheckoutAttempt, listAttempts } from './checkout-attempt.ts'
import { loadBalances, type PaymentBalance } from './payment-store.ts'
import type { PurchaseContext } from './purchase-machine.ts'
import { type PurchaseMoney, sumMoney } from './purchase-money.ts'

/** A locked purchase with everything that a decision about it is made from. */
export type PurchaseCase = {
  purchase: BulkPurchase
  attempts: CheckoutAttempt[]
  balances: PaymentBalance[]
  money: PurchaseMoney
}

export async function loadCase(trx: Tx, purchase: BulkPurchase): Promise<PurchaseCase> {
  const ref = { conferenceId: purchase.conferenceId, purchaseId: purchase.id }
  const attempts = await listAttempts(trx, ref)
  const balances = await loadBalances(trx, ref)
  return { purchase, attempts, balances, money: sumMoney(purchase, balances) }
}

/** What the machine's guards see. */
export function contextOf({ purchase, attempts, balances, money }: PurchaseCase): PurchaseContext {
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

import type { Tx } from '../db/connect.ts'
import type { BulkPurchase } from './bulk-purchase.ts'
import { attemptsOf, type CheckoutAttempt } from './checkout-attempt.ts'
import { balancesOf, type PaymentBalance } from './payment-store.ts'
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
  const [known] = await loadCases(trx, purchase.conferenceId, [purchase])
  if (known === undefined) throw new Error(`Purchase ${purchase.id} has no case`)
  return known
}

/** The same for the purchases of a list, in a fixed number of queries. */
export async function loadCases(
  trx: Tx,
  conferenceId: string,
  purchases: BulkPurchase[],
): Promise<PurchaseCase[]> {
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

import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError } from '../shared/errors.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import { findAttempt, markExpired } from './checkout-attempt.ts'
import { closeAttempt } from './open-attempt.ts'
import type { PaymentGateway } from './payment-gateway.ts'
import { lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile.ts'

const cause = {
  actor: { kind: 'system', id: 'sweep' },
  cause: 'attempt without a session',
} as const

/**
 * An attempt that was left without a session (we died between Stripe and our commit): asks again
 * under its key, which tells us the session if there is one, and closes it, since nobody was given
 * its address. A payer who was faster is found by the reading at the end. A saved card that nobody
 * goes on charging is given up in the same way.
 */
export async function finishStaleAttempt(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  number: number,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  const isCard = attempt?.kind === 'payment_intent' && attempt.state === 'open'
  if (attempt?.state !== 'creating' && !isCard) return
  // What became of a card's intent is for the reading to say.
  if ((await isClosed(deps, ref, number)) && !isCard) {
    await withTenant(deps.db, ref, async (trx) => {
      await lockPurchase(trx, ref)
      await markExpired(trx, ref, number)
    })
  }
  await reconcilePurchase(deps, ref, { cause })
}

async function isClosed(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  number: number,
): Promise<boolean> {
  try {
    await closeAttempt(deps, ref, number, cause)
    return true
  } catch (error) {
    if (error instanceof AppError && error.code === 'payment_in_progress') return false
    throw error
  }
}

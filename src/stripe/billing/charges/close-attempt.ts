import { withTenant } from '../../../db/tenant-scope.ts'
import { AppError } from '../../../shared/errors.ts'
import { closeCheckout } from '../../checkout.ts'
import { closeIntent } from '../../off-session-intent.ts'
import type { ChargeRef } from './charge.ts'
import { type ChargeAttempt, findAttempt, isPayable, updateAttempt } from './charge-attempt.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { openLink } from './charge-link.ts'
import { lockCharge } from './charge-store.ts'
import { reconcileCharge } from './reconcile-charge.ts'

/**
 * Makes sure at Stripe that a try can no longer be paid. An intent whose id was never noted can not:
 * only what is noted is ever confirmed. A link whose session is not known is opened under its own
 * key first, since only so do we learn what to close.
 *
 * @throws AppError `payment_in_progress` when it was paid meanwhile; the charge knows it then.
 */
export async function closeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (attempt === null || !isPayable(attempt)) return
  if (attempt.params.kind === 'payment_intent' && attempt.paymentIntentId === null) {
    // Its id may be noted at this very moment; then there is an intent to close.
    if (await giveUpUnnoted(deps, ref, number)) return
    return closeAttempt(deps, ref, number)
  }
  if (await isClosed(deps, ref, attempt)) return
  await reconcileCharge(deps, ref)
  throw new AppError('payment_in_progress', 'It was paid meanwhile; look at the charge again.')
}

function giveUpUnnoted(deps: ChargeDeps, ref: ChargeRef, number: number): Promise<boolean> {
  return withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    return updateAttempt(trx, ref, number, { state: 'canceled' }, ['creating'])
  })
}

async function isClosed(deps: ChargeDeps, ref: ChargeRef, attempt: ChargeAttempt) {
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  if (attempt.params.kind === 'payment_intent') {
    const { paymentIntentId } = attempt
    return paymentIntentId === null || (await closeIntent(stripe, paymentIntentId)) === 'canceled'
  }
  const opened = await openLink(deps, ref, attempt)
  return opened.kind === 'refused' || (await closeCheckout(stripe, opened.sessionId)) === 'expired'
}

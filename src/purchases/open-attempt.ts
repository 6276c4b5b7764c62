import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type {
  OpenCheckoutResult,
  OpenedSession,
  PaymentGateway,
  PurchaseRef,
} from '../payments/payment-gateway.ts'
import {
  type CheckoutSessionAttempt,
  expireAttempt,
  findAttempt,
  type PaymentAttempt,
  updateAttempt,
} from './payment-attempt-store.ts'
import { paymentInProgress } from './purchase-aggregate.ts'
import type { Cause } from './purchase-store.ts'
import { lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'
import { transitionPurchase } from './transition-purchase.ts'

type Deps = { db: Db; gateway: PaymentGateway }

/** Null while the attempt is `creating`, even when a webhook already told its session. */
function sessionOf(attempt: PaymentAttempt | null): OpenedSession | null {
  if (attempt === null || attempt.state === 'creating') return null
  if (attempt.sessionId === null || attempt.expiresAt === null) return null
  return { sessionId: attempt.sessionId, url: attempt.url, expiresAt: attempt.expiresAt }
}

/**
 * Asks Stripe for the attempt's session and writes it down; an attempt that has one already answers
 * from the row. Two parallel calls, or one after a crash, get the same session from Stripe.
 *
 * @throws AppError `stripe_unavailable` or `stripe_failed` after an unknown outcome: nothing changed.
 */
export async function openAttempt(
  deps: Deps,
  ref: PurchaseRef,
  attempt: CheckoutSessionAttempt,
  cause: Cause,
): Promise<OpenCheckoutResult> {
  const known = sessionOf(attempt)
  if (known !== null) return { kind: 'opened', session: known }
  const result = await deps.gateway.openCheckout(ref, attempt.attempt, attempt.params)
  return withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    // A parallel call, or a reading of Stripe, may have been here first.
    const now = await findAttempt(trx, ref, attempt.attempt)
    const written = sessionOf(now)
    if (written !== null) return { kind: 'opened', session: written }
    if (result.kind === 'refused') {
      await updateAttempt(trx, ref, attempt.attempt, { state: 'refused', refusal: result.message })
      return result
    }
    await updateAttempt(trx, ref, attempt.attempt, {
      state: 'open',
      session_id: result.session.sessionId,
      url: result.session.url,
      expires_at: result.session.expiresAt,
    })
    await transitionPurchase(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
    return result
  })
}

/**
 * Makes sure that an attempt can no longer be paid. One whose session is not known is opened under
 * its own key first: only so do we learn what to close.
 *
 * @throws AppError `payment_in_progress` when somebody has completed it meanwhile.
 */
export async function closeAttempt(
  deps: Deps,
  ref: PurchaseRef,
  number: number,
  cause: Cause,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (attempt === null || attempt.state === 'expired' || attempt.state === 'refused') return
  if (attempt.kind === 'payment_intent') return closeCard(deps, ref, attempt, cause)
  const opened = await openAttempt(deps, ref, attempt, cause)
  if (opened.kind === 'refused') return
  const end = await deps.gateway.closeCheckout(ref.conferenceId, opened.session.sessionId)
  if (end === 'complete') {
    throw paymentInProgress('The checkout was completed meanwhile; look at the purchase again.')
  }
}

/**
 * The same for a saved card. Only an intent that was noted is ever confirmed, so a try without one is
 * simply over; its id may be noted at this very moment, and then there is an intent to close.
 */
async function closeCard(
  deps: Deps,
  ref: PurchaseRef,
  { attempt, paymentIntentId }: PaymentAttempt,
  cause: Cause,
): Promise<void> {
  if (paymentIntentId === null) {
    const isOver = await withTenant(deps.db, ref, async (trx) => {
      await lockPurchase(trx, ref)
      if ((await findAttempt(trx, ref, attempt))?.paymentIntentId !== null) return false
      await expireAttempt(trx, ref, attempt)
      return true
    })
    return isOver ? undefined : closeAttempt(deps, ref, attempt, cause)
  }
  const end = await deps.gateway.closeIntent(ref.conferenceId, paymentIntentId)
  if (end === 'canceled') return
  await reconcilePurchase(deps, ref, cause)
  throw paymentInProgress('The card was charged meanwhile; look at the purchase again.')
}

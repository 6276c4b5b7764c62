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

/** Null while the attempt is `creating`, even if a webhook already stored its session. */
function sessionOf(attempt: PaymentAttempt | null): OpenedSession | null {
  if (attempt === null || attempt.state === 'creating') return null
  if (attempt.sessionId === null || attempt.expiresAt === null) return null
  return { sessionId: attempt.sessionId, url: attempt.url, expiresAt: attempt.expiresAt }
}

/**
 * Opens the attempt's session at Stripe and stores it, unless the attempt has one. Two parallel calls,
 * or a call after a crash, get the same session from Stripe.
 *
 * @throws AppError `stripe_unavailable` or `stripe_failed` after an unknown outcome; nothing changed.
 */
export async function openAttempt(
  deps: Deps,
  ref: PurchaseRef,
  attempt: CheckoutSessionAttempt,
  cause: Cause,
): Promise<OpenCheckoutResult> {
  const stored = sessionOf(attempt)
  if (stored !== null) return { kind: 'opened', session: stored }
  const result = await deps.gateway.openCheckout(ref, attempt.attempt, attempt.params)
  return withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    // A parallel call or a snapshot may have stored it first.
    const session = sessionOf(await findAttempt(trx, ref, attempt.attempt))
    if (session !== null) return { kind: 'opened', session }
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
 * Closes an attempt at Stripe, so that it can no longer be paid. If its session is unknown, the session
 * is first opened under the attempt's key: that returns the session to close.
 *
 * @throws AppError `payment_in_progress` if the payer completed it first.
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
    throw paymentInProgress('The payer has just completed the checkout. Get the purchase again.')
  }
}

/**
 * The same for a saved card. Only a stored intent is ever confirmed, so an attempt without one simply
 * expires; if a parallel call stores the intent just then, it is closed at Stripe.
 */
async function closeCard(
  deps: Deps,
  ref: PurchaseRef,
  { attempt, paymentIntentId }: PaymentAttempt,
  cause: Cause,
): Promise<void> {
  if (paymentIntentId === null) {
    const isExpired = await withTenant(deps.db, ref, async (trx) => {
      await lockPurchase(trx, ref)
      if ((await findAttempt(trx, ref, attempt))?.paymentIntentId !== null) return false
      await expireAttempt(trx, ref, attempt)
      return true
    })
    return isExpired ? undefined : closeAttempt(deps, ref, attempt, cause)
  }
  const end = await deps.gateway.closeIntent(ref.conferenceId, paymentIntentId)
  if (end === 'canceled') return
  await reconcilePurchase(deps, ref, cause)
  throw paymentInProgress('The card has just been charged. Get the purchase again.')
}

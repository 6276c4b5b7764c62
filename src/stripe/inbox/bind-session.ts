import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { PurchaseRef } from '../../purchases/bulk-purchase.ts'
import {
  type CheckoutAttempt,
  listAttempts,
  updateAttempt,
} from '../../purchases/checkout-attempt.ts'
import { lockPurchase } from '../../purchases/purchase-store.ts'
import type { StripeClients } from '../client.ts'
import { orNull } from '../stripe-errors.ts'
import { parseAnswer, sessionObject } from '../stripe-objects.ts'

/** The attempt that may own a session which none of them is known to have, or null. */
function ownerless(attempts: CheckoutAttempt[], sessionId: string): CheckoutAttempt | null {
  if (attempts.some((attempt) => attempt.sessionId === sessionId)) return null
  const open = attempts.find(({ state, sessionId: id }) => state === 'creating' && id === null)
  return open ?? null
}

/**
 * Gives a session to the attempt that asked for it, when we died between Stripe's answer and our
 * commit: without that, the reading that follows would not know of it. The session itself is read
 * and must name this purchase, conference and attempt.
 *
 * @throws AppError `stripe_…`
 */
export async function bindSession(
  deps: { db: Db; clients: StripeClients },
  ref: PurchaseRef,
  sessionId: string,
): Promise<void> {
  const attempts = await withTenant(deps.db, ref, (trx) => listAttempts(trx, ref))
  const attempt = ownerless(attempts, sessionId)
  if (attempt === null) return
  const stripe = await deps.clients.forConference(ref.conferenceId)
  const answer = await orNull(() => stripe.checkout.sessions.retrieve(sessionId))
  if (answer === null) return
  const session = parseAnswer(sessionObject, answer, 'checkout session')
  const { client_reference_id: reference, metadata } = session
  const isItsOwn =
    reference === ref.purchaseId &&
    metadata['conference_id'] === ref.conferenceId &&
    metadata['attempt'] === String(attempt.attempt)
  if (!isItsOwn) return
  await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    // The request that had died may have been repeated meanwhile.
    if (ownerless(await listAttempts(trx, ref), sessionId)?.attempt !== attempt.attempt) return
    // It stays `creating`: what has become of the session is for the reading to say.
    await updateAttempt(trx, ref, attempt.attempt, {
      session_id: sessionId,
      url: session.url,
      expires_at: new Date(session.expires_at * 1000),
    })
  })
}

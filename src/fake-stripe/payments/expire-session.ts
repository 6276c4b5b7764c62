import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { checkoutSessions, sessionPlans } from '../objects/checkout-session.ts'
import { cancelIntent } from './cancel-intent.ts'

/**
 * Ends an open session, by the clock or on request; an intent that a declined card left behind goes
 * with it.
 *
 * @throws NotPossible when the session is not open.
 */
export function expireSession(scope: Scope, id: string): Stripe.Checkout.Session {
  const session = requireRow(scope, checkoutSessions, id)
  if (session.status !== 'open') throw new NotPossible(`Session ${id} is ${session.status}`)
  scope.account.rows(sessionPlans).get(id)?.cancelExpiry()
  const intent = idOf(session.payment_intent)
  if (intent !== null) cancelIntent(scope, intent, 'expired')
  const expired = changeRow(scope, checkoutSessions, id, { status: 'expired', url: null })
  emitEvent(scope, 'checkout.session.expired', expired)
  return expired
}

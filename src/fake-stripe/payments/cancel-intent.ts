import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import type { Scope } from '../core/scope.ts'
import { paymentIntents } from '../objects/payment-intent.ts'

export const CANCELABLE = [
  'requires_payment_method',
  'requires_capture',
  'requires_confirmation',
  'requires_action',
  'processing',
]

/** Ends an intent for good; the caller has checked that its state allows it. */
export function cancelIntent(
  scope: Scope,
  id: string,
  reason: Stripe.PaymentIntent.CancellationReason | null,
): Stripe.PaymentIntent {
  const next = changeRow(scope, paymentIntents, id, {
    status: 'canceled',
    canceled_at: scope.world.clock.seconds(),
    cancellation_reason: reason,
    next_action: null,
  })
  emitEvent(scope, 'payment_intent.canceled', next)
  return next
}

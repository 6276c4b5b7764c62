import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { checkoutSessions } from '../objects/checkout-session.ts'
import { intentSessions, paymentIntents } from '../objects/payment-intent.ts'
import { failPayment, settlePayment } from './attempt-payment.ts'
import { receiveTransfer } from './bank-transfer.ts'
import { cancelIntent } from './cancel-intent.ts'
import { BANK_FAILURE, type PaymentFailure } from './payment-failure.ts'

// These three take an intent and tell its session, if Checkout made it, so that a debit that was
// started by the API and one that was started on the hosted page settle alike.

/** The bank debit, or the awaited transfer, came in. @throws NotPossible when none is under way. */
export function settleIntent(scope: Scope, intentId: string): Stripe.PaymentIntent {
  const { status, amount } = requireRow(scope, paymentIntents, intentId)
  if (status === 'requires_action') return fundIntent(scope, intentId, amount)
  const intent = settlePayment(scope, intentId)
  tellSession(scope, intentId, 'paid')
  return intent
}

/** Part of a bank transfer came in; all of it settles the payment. @param received smallest unit. */
export function fundIntent(scope: Scope, intentId: string, received: number): Stripe.PaymentIntent {
  const intent = receiveTransfer(scope, intentId, received)
  if (intent.status === 'succeeded') tellSession(scope, intentId, 'paid')
  return intent
}

/** The bank debit failed, or the transfer never came. @throws NotPossible when none is under way. */
export function failIntent(
  scope: Scope,
  intentId: string,
  failure: PaymentFailure = BANK_FAILURE,
): Stripe.PaymentIntent {
  const { status } = requireRow(scope, paymentIntents, intentId)
  if (status !== 'processing' && status !== 'requires_action')
    throw new NotPossible(`${intentId} is ${status}, no payment is under way`)
  const intent =
    status === 'processing'
      ? failPayment(scope, intentId, failure)
      : cancelIntent(scope, intentId, 'automatic')
  tellSession(scope, intentId, 'unpaid')
  return intent
}

function tellSession(scope: Scope, intentId: string, status: 'paid' | 'unpaid'): void {
  const link = scope.account.rows(intentSessions).get(intentId)
  if (link === undefined) return
  const session = changeRow(scope, checkoutSessions, link.session, { payment_status: status })
  const outcome = status === 'paid' ? 'succeeded' : 'failed'
  emitEvent(scope, `checkout.session.async_payment_${outcome}`, session)
}

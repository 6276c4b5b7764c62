import type Stripe from 'stripe'
import type { Call } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { refused, StripeError } from '../core/stripe-error.ts'
import { charges } from '../objects/charge.ts'
import { intentSessions, paymentIntents } from '../objects/payment-intent.ts'
import { testBehaviours } from '../objects/payment-method.ts'
import { attemptPayment } from './attempt-payment.ts'
import { cardDecline, type DeclineCode } from './payment-failure.ts'
import { resolvePaymentMethod } from './test-payment-methods.ts'

const CONFIRMABLE = ['requires_payment_method', 'requires_confirmation', 'requires_action']

export type ConfirmOptions = {
  paymentMethod?: string | undefined
  /** The payer is not there, so authentication cannot be asked for. */
  offSession?: boolean | undefined
}

/**
 * Charges an intent with its payment method.
 *
 * @throws StripeError 402 when the card is declined; the charge and the events exist then.
 * @see https://docs.stripe.com/api/payment_intents/confirm
 */
export function confirmIntent(
  call: Call,
  id: string,
  options: ConfirmOptions,
): Stripe.PaymentIntent {
  refuseCheckoutIntent(call, id)
  const intent = requireRow(call, paymentIntents, id)
  if (!CONFIRMABLE.includes(intent.status)) throw alreadyConfirmed(intent)
  const chosen = options.paymentMethod ?? idOf(intent.payment_method)
  if (chosen === null) throw missingMethod()
  const method = resolvePaymentMethod(call, chosen, 'payment_method')
  const owner = idOf(method.customer)
  if (owner !== null && owner !== idOf(intent.customer))
    throw refused(
      `The provided PaymentMethod cannot be used because it belongs to a different Customer. You may only use ${method.id} with Customer ${owner}.`,
      { param: 'payment_method' },
    )

  if (method.type !== 'card') return attemptPayment(call, id, method, { status: 'processing' })
  const behaviour = requireRow(call, testBehaviours, method.id)
  if (behaviour.needsAuthentication && !options.offSession) return askPayer(call, id, method)
  const decline =
    call.decline ?? (behaviour.needsAuthentication ? 'authentication_required' : behaviour.decline)
  if (decline === null) return attemptPayment(call, id, method, { status: 'succeeded' })
  const failed = attemptPayment(call, id, method, {
    status: 'failed',
    failure: cardDecline(decline),
  })
  throw declined(call, failed, decline, method)
}

/** An intent of Checkout is paid on Checkout's page and ends with its session. */
export function refuseCheckoutIntent({ account }: Call, id: string): void {
  if (account.rows(intentSessions).get(id) === undefined) return
  throw refused('You cannot perform this action on PaymentIntents created by Checkout.')
}

function askPayer(call: Call, id: string, method: Stripe.PaymentMethod): Stripe.PaymentIntent {
  const intent = changeRow(call, paymentIntents, id, {
    status: 'requires_action',
    payment_method: method.id,
    next_action: { type: 'use_stripe_sdk', use_stripe_sdk: {} },
  })
  emitEvent(call, 'payment_intent.requires_action', intent)
  return intent
}

function declined(
  call: Call,
  intent: Stripe.PaymentIntent,
  decline: DeclineCode,
  method: Stripe.PaymentMethod,
): StripeError {
  const failure = cardDecline(decline)
  const charge = requireRow(call, charges, idOf(intent.latest_charge))
  const details = {
    advice_code: 'try_again_later',
    charge: charge.id,
    code: failure.code,
    decline_code: decline,
    payment_intent: intent,
    payment_method: method,
  }
  return new StripeError(402, 'card_error', failure.message, details, { stored: true })
}

function alreadyConfirmed(intent: Stripe.PaymentIntent): StripeError {
  return refused(
    `You cannot confirm this PaymentIntent because it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be confirmed: ${CONFIRMABLE.join(', ')}.`,
    { code: 'payment_intent_unexpected_state', payment_intent: intent },
  )
}

function missingMethod(): StripeError {
  return refused(
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method or ConfirmationToken.",
    { code: 'payment_intent_unexpected_state' },
  )
}

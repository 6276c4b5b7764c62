import type Stripe from 'stripe'
import type { Call } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { fakeId } from '../core/fake-id.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { refused, StripeError } from '../core/stripe-error.ts'
import { paymentMethods, testBehaviours } from '../objects/payment-method.ts'
import { setupIntents } from '../objects/setup-intent.ts'
import { attachPaymentMethod } from './attach-payment-method.ts'
import { cardDecline, type DeclineCode } from './payment-failure.ts'
import { resolvePaymentMethod } from './test-payment-methods.ts'

/** The states in which a setup intent can still be changed, confirmed or canceled. */
export const OPEN_SETUP = ['requires_payment_method', 'requires_confirmation', 'requires_action']

/**
 * Asks the bank whether a payment method may be kept for later.
 *
 * @throws StripeError 402 when the bank refuses; the event exists then.
 * @see https://docs.stripe.com/api/setup_intents/confirm
 */
export function confirmSetup(call: Call, id: string, wanted?: string): Stripe.SetupIntent {
  const intent = requireRow(call, setupIntents, id)
  if (!OPEN_SETUP.includes(intent.status)) throw wrongSetupState(intent, 'confirm')
  const chosen = wanted ?? idOf(intent.payment_method)
  if (chosen === null)
    throw refused(
      "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a payment method and then confirm it again.",
      { code: 'setup_intent_unexpected_state', setup_intent: intent },
    )
  const method = resolvePaymentMethod(call, chosen, 'payment_method')
  refuseOthersMethod(intent, method)
  const behaviour = call.account.rows(testBehaviours).get(method.id)
  const decline = call.decline ?? (behaviour?.savable === false ? behaviour.decline : null)
  if (decline !== null) throw fail(call, intent, method, decline)
  if (behaviour?.needsAuthentication === true) return askPayer(call, intent, method)
  return succeedSetup(call, id, method)
}

/** The payer passed or failed the bank's authentication. @throws NotPossible when not asked. */
export function authenticateSetup(scope: Scope, id: string, passed: boolean): Stripe.SetupIntent {
  const intent = requireRow(scope, setupIntents, id)
  if (intent.status !== 'requires_action')
    throw new NotPossible(`${id} is ${intent.status} and waits for no authentication`)
  const method = requireRow(scope, paymentMethods, idOf(intent.payment_method))
  if (passed) return succeedSetup(scope, id, method)
  return failSetup(scope, intent, {
    code: 'setup_intent_authentication_failure',
    doc_url: 'https://docs.stripe.com/error-codes/setup-intent-authentication-failure',
    message:
      'The latest attempt to set up the payment method has failed because authentication failed.',
    payment_method: method,
    type: 'invalid_request_error',
  })
}

export function wrongSetupState(intent: Stripe.SetupIntent, action: string): StripeError {
  return refused(
    `You cannot ${action} this SetupIntent because it has a status of ${intent.status}.`,
    { code: 'setup_intent_unexpected_state', setup_intent: intent },
  )
}

function refuseOthersMethod(intent: Stripe.SetupIntent, method: Stripe.PaymentMethod): void {
  const owner = idOf(method.customer)
  if (owner === null || owner === idOf(intent.customer)) return
  throw refused(
    `The provided PaymentMethod cannot be used because it belongs to a different Customer. You may only use ${method.id} with Customer ${owner}.`,
    { param: 'payment_method' },
  )
}

function succeedSetup(scope: Scope, id: string, method: Stripe.PaymentMethod): Stripe.SetupIntent {
  const customer = idOf(requireRow(scope, setupIntents, id).customer)
  if (customer !== null) attachPaymentMethod(scope, method.id, customer, 'payment_method', 400)
  const intent = changeRow(scope, setupIntents, id, {
    status: 'succeeded',
    payment_method: method.id,
    latest_attempt: fakeId('setatt_1'),
    last_setup_error: null,
    next_action: null,
  })
  emitEvent(scope, 'setup_intent.succeeded', intent)
  return intent
}

function askPayer(call: Call, { id }: Stripe.SetupIntent, method: Stripe.PaymentMethod) {
  const intent = changeRow(call, setupIntents, id, {
    status: 'requires_action',
    payment_method: method.id,
    latest_attempt: fakeId('setatt_1'),
    next_action: { type: 'use_stripe_sdk', use_stripe_sdk: {} },
  })
  emitEvent(call, 'setup_intent.requires_action', intent)
  return intent
}

function fail(
  call: Call,
  intent: Stripe.SetupIntent,
  method: Stripe.PaymentMethod,
  decline: DeclineCode,
): StripeError {
  const { code, message } = cardDecline(decline)
  const failed = failSetup(call, intent, {
    advice_code: 'try_again_later',
    code,
    decline_code: decline,
    doc_url: `https://docs.stripe.com/error-codes/${code.replaceAll('_', '-')}`,
    message,
    payment_method: method,
    type: 'card_error',
  })
  const details = { code, decline_code: decline, payment_method: method, setup_intent: failed }
  return new StripeError(402, 'card_error', message, details, { stored: true })
}

function failSetup(
  scope: Scope,
  { id }: Stripe.SetupIntent,
  error: Stripe.SetupIntent.LastSetupError,
): Stripe.SetupIntent {
  const failed = changeRow(scope, setupIntents, id, {
    status: 'requires_payment_method',
    payment_method: null,
    latest_attempt: fakeId('setatt_1'),
    last_setup_error: error,
    next_action: null,
  })
  emitEvent(scope, 'setup_intent.setup_failed', failed)
  return failed
}

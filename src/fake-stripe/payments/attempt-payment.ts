import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { processingFee, recordMovement } from '../objects/balance-transaction.ts'
import { charges, createCharge, outcome } from '../objects/charge.ts'
import { intentFollowers, paymentIntents } from '../objects/payment-intent.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import type { PaymentFailure } from './payment-failure.ts'

/** `processing`: a bank debit whose outcome comes days later. */
export type PaymentResult =
  | { status: 'succeeded' }
  | { status: 'processing' }
  | { status: 'failed'; failure: PaymentFailure }

/** One attempt to pay an intent: makes the charge, moves the intent, tells the webhooks. */
export function attemptPayment(
  scope: Scope,
  intentId: string,
  method: Stripe.PaymentMethod,
  result: PaymentResult,
): Stripe.PaymentIntent {
  const intent = requireRow(scope, paymentIntents, intentId)
  switch (result.status) {
    case 'succeeded': {
      const charge = createCharge(scope, intent, method, { status: 'succeeded' })
      return succeed(scope, intent, charge, method)
    }
    case 'processing': {
      const charge = createCharge(scope, intent, method, { status: 'pending' })
      emitEvent(scope, 'charge.pending', charge)
      const next = changeRow(scope, paymentIntents, intent.id, {
        status: 'processing',
        latest_charge: charge.id,
        payment_method: method.id,
        last_payment_error: null,
      })
      emitEvent(scope, 'payment_intent.processing', next)
      return next
    }
    case 'failed': {
      const { failure } = result
      const charge = createCharge(scope, intent, method, { status: 'failed', failure })
      return fail(scope, charge, failure)
    }
  }
}

/** The bank carried the debit out. @throws NotPossible unless the intent is processing. */
export function settlePayment(scope: Scope, intentId: string): Stripe.PaymentIntent {
  const { intent, charge, method } = processingPayment(scope, intentId)
  return succeed(scope, intent, charge, method)
}

/** The bank sent the debit back. @throws NotPossible unless the intent is processing. */
export function failPayment(
  scope: Scope,
  intentId: string,
  failure: PaymentFailure,
): Stripe.PaymentIntent {
  const { charge } = processingPayment(scope, intentId)
  const failed = changeRow(scope, charges, charge.id, {
    status: 'failed',
    paid: false,
    captured: false,
    failure_code: failure.code,
    failure_message: failure.message,
    outcome: outcome(failure),
  })
  return fail(scope, failed, failure)
}

function processingPayment(scope: Scope, intentId: string) {
  const intent = requireRow(scope, paymentIntents, intentId)
  if (intent.status !== 'processing')
    throw new NotPossible(`${intentId} is ${intent.status}, not processing`)
  const charge = requireRow(scope, charges, idOf(intent.latest_charge))
  return { intent, charge, method: requireRow(scope, paymentMethods, charge.payment_method) }
}

function succeed(
  scope: Scope,
  intent: Stripe.PaymentIntent,
  charge: Stripe.Charge,
  method: Stripe.PaymentMethod,
): Stripe.PaymentIntent {
  const movement = recordMovement(scope, {
    amount: charge.amount,
    fee: processingFee(charge.amount),
    currency: charge.currency,
    source: charge.id,
    type: method.type === 'card' ? 'charge' : 'payment',
    reportingCategory: 'charge',
    description: charge.description,
  })
  const paid = changeRow(scope, charges, charge.id, {
    status: 'succeeded',
    paid: true,
    captured: true,
    amount_captured: charge.amount,
    balance_transaction: movement.id,
  })
  emitEvent(scope, 'charge.succeeded', paid)
  const next = changeRow(scope, paymentIntents, intent.id, {
    status: 'succeeded',
    amount_received: charge.amount,
    latest_charge: charge.id,
    payment_method: method.id,
    last_payment_error: null,
    next_action: null,
  })
  emitEvent(scope, 'payment_intent.succeeded', next)
  scope.account.rows(intentFollowers).get(next.id)?.settled(scope, next)
  return next
}

function fail(scope: Scope, charge: Stripe.Charge, failure: PaymentFailure): Stripe.PaymentIntent {
  const method = requireRow(scope, paymentMethods, charge.payment_method)
  emitEvent(scope, 'charge.failed', charge)
  const next = changeRow(scope, paymentIntents, idOf(charge.payment_intent) ?? '', {
    status: 'requires_payment_method',
    latest_charge: charge.id,
    payment_method: null,
    next_action: null,
    last_payment_error: {
      ...(failure.declineCode === null ? {} : { advice_code: 'try_again_later' }),
      charge: charge.id,
      code: failure.code,
      ...(failure.declineCode === null ? {} : { decline_code: failure.declineCode }),
      doc_url: `https://docs.stripe.com/error-codes/${failure.code.replaceAll('_', '-')}`,
      message: failure.message,
      payment_method: method,
      type: failure.declineCode === null ? 'invalid_request_error' : 'card_error',
    },
  })
  emitEvent(scope, 'payment_intent.payment_failed', next)
  scope.account.rows(intentFollowers).get(next.id)?.settled(scope, next)
  return next
}

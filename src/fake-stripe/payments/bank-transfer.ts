import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { fakeId } from '../core/fake-id.ts'
import { NotPossible } from '../core/not-possible.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import { attemptPayment } from './attempt-payment.ts'

/** The payer was told where to send the money; the intent waits for it. */
export function awaitTransfer(
  scope: Scope,
  intentId: string,
  method: Stripe.PaymentMethod,
): Stripe.PaymentIntent {
  const { amount, currency } = requireRow(scope, paymentIntents, intentId)
  const next = changeRow(scope, paymentIntents, intentId, {
    status: 'requires_action',
    payment_method: method.id,
    next_action: {
      type: 'display_bank_transfer_instructions',
      display_bank_transfer_instructions: {
        amount_remaining: amount,
        currency,
        financial_addresses: [],
        hosted_instructions_url: null,
        reference: fakeId('', 8).toUpperCase(),
        type: currency === 'eur' ? 'eu_bank_transfer' : 'us_bank_transfer',
      },
    },
  })
  emitEvent(scope, 'payment_intent.requires_action', next)
  return next
}

/**
 * Money arrives for an intent that waits for a transfer; less than what is due leaves it waiting.
 *
 * @param received in the currency's smallest unit.
 * @throws NotPossible when the intent waits for no transfer.
 * @see https://docs.stripe.com/payments/bank-transfers
 */
export function receiveTransfer(
  scope: Scope,
  intentId: string,
  received: number,
): Stripe.PaymentIntent {
  const intent = requireRow(scope, paymentIntents, intentId)
  const instructions = intent.next_action?.display_bank_transfer_instructions
  if (intent.next_action === null || instructions === undefined)
    throw new NotPossible(`${intentId} is ${intent.status} and waits for no bank transfer`)
  const remaining = (instructions.amount_remaining ?? intent.amount) - received
  if (remaining <= 0) {
    const method = requireRow(scope, paymentMethods, idOf(intent.payment_method))
    return attemptPayment(scope, intentId, method, { status: 'succeeded' })
  }
  const next = changeRow(scope, paymentIntents, intentId, {
    next_action: {
      ...intent.next_action,
      display_bank_transfer_instructions: { ...instructions, amount_remaining: remaining },
    },
  })
  emitEvent(scope, 'payment_intent.partially_funded', next)
  return next
}

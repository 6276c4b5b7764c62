import type Stripe from 'stripe'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import type { PaymentFailure } from '../core/declines.ts'
import { InvalidState } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { processingFee, recordMovement } from './balance-transaction.ts'
import { charges, createCharge, outcome } from './charge.ts'
import { paymentMethods } from './payment-method.ts'

export const paymentIntents = defineTable<Stripe.PaymentIntent>('payment_intent')

/** The Checkout session that created an intent; only that session can change it. */
export const intentSessions = defineTable<{ id: string; session: string }>(
  'payment_intent.session',
  { hidden: true },
)

/**
 * Called when a payment attempt of an intent has succeeded or failed; an invoice listens to its
 * intent.
 */
export const intentListeners = defineTable<{
  id: string
  settled: (scope: Scope, intent: Stripe.PaymentIntent) => void
}>('payment_intent.follower', { hidden: true })

export type PaymentIntentInput = {
  amount: number
  currency: string
  customer?: string | null | undefined
  description?: string | null | undefined
  metadata?: Record<string, string> | undefined
  receipt_email?: string | null | undefined
  setup_future_usage?: Stripe.PaymentIntent.SetupFutureUsage | null | undefined
  statement_descriptor?: string | null | undefined
  statement_descriptor_suffix?: string | null | undefined
  transfer_group?: string | null | undefined
  payment_method?: string | null | undefined
  payment_method_types?: string[] | undefined
}

/** Stores a new intent, without an event. */
export function createPaymentIntent(
  { account, world }: Scope,
  input: PaymentIntentInput,
): Stripe.PaymentIntent {
  const id = fakeId('pi_3')
  const intent: Stripe.PaymentIntent = {
    id,
    object: 'payment_intent',
    allowed_payment_method_types: null,
    amount: input.amount,
    amount_capturable: 0,
    amount_details: { tip: {} },
    amount_received: 0,
    application: null,
    application_fee_amount: null,
    automatic_payment_methods: { allow_redirects: 'always', enabled: true },
    canceled_at: null,
    cancellation_reason: null,
    capture_method: 'automatic_async',
    client_secret: `${id}_secret_${fakeId('', 25)}`,
    confirmation_method: 'automatic',
    created: world.clock.seconds(),
    currency: input.currency,
    customer: input.customer ?? null,
    customer_account: null,
    description: input.description ?? null,
    excluded_payment_method_types: null,
    last_payment_error: null,
    latest_charge: null,
    livemode: account.livemode,
    managed_payments: null,
    metadata: input.metadata ?? {},
    next_action: null,
    on_behalf_of: null,
    payment_method: input.payment_method ?? null,
    payment_method_configuration_details: null,
    payment_method_options: {},
    payment_method_types: input.payment_method_types ?? ['card', 'us_bank_account'],
    payment_record: null,
    processing: null,
    receipt_email: input.receipt_email ?? null,
    review: null,
    setup_future_usage: input.setup_future_usage ?? null,
    shipping: null,
    source: null,
    statement_descriptor: input.statement_descriptor ?? null,
    statement_descriptor_suffix: input.statement_descriptor_suffix ?? null,
    status: input.payment_method ? 'requires_confirmation' : 'requires_payment_method',
    transfer_data: null,
    transfer_group: input.transfer_group ?? null,
  }
  return account.rows(paymentIntents).insert(intent)
}

/** `processing`: a bank debit whose outcome comes days later. */
export type PaymentResult =
  | { status: 'succeeded' }
  | { status: 'processing' }
  | { status: 'failed'; failure: PaymentFailure }

/** Performs one payment attempt: creates the charge, updates the intent and sends the events. */
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
      return succeedPayment(scope, intent, charge, method)
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
      return recordFailure(scope, charge, failure)
    }
  }
}

/** The bank executed the debit. @throws InvalidState unless the intent is processing. */
export function settlePayment(scope: Scope, intentId: string): Stripe.PaymentIntent {
  const { intent, charge, method } = processingPayment(scope, intentId)
  return succeedPayment(scope, intent, charge, method)
}

/** The bank returned the debit. @throws InvalidState unless the intent is processing. */
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
  return recordFailure(scope, failed, failure)
}

function processingPayment(scope: Scope, intentId: string) {
  const intent = requireRow(scope, paymentIntents, intentId)
  if (intent.status !== 'processing')
    throw new InvalidState(`${intentId} is ${intent.status}, not processing`)
  const charge = requireRow(scope, charges, idOf(intent.latest_charge))
  return { intent, charge, method: requireRow(scope, paymentMethods, charge.payment_method) }
}

function succeedPayment(
  scope: Scope,
  intent: Stripe.PaymentIntent,
  charge: Stripe.Charge,
  method: Stripe.PaymentMethod,
): Stripe.PaymentIntent {
  const movement = recordMovement(scope, {
    amount: charge.amount,
    fee: processingFee,
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
  scope.account.rows(intentListeners).get(next.id)?.settled(scope, next)
  return next
}

function recordFailure(
  scope: Scope,
  charge: Stripe.Charge,
  failure: PaymentFailure,
): Stripe.PaymentIntent {
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
  scope.account.rows(intentListeners).get(next.id)?.settled(scope, next)
  return next
}

/** Shows the payer the bank account for the transfer; the intent waits for the money. */
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
 * Money arrives for an intent that waits for a transfer; with less than the amount due it continues
 * to wait.
 *
 * @param received in the currency's smallest unit.
 * @throws InvalidState when the intent waits for no transfer.
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
    throw new InvalidState(`${intentId} is ${intent.status} and waits for no bank transfer`)
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

export const CANCELABLE = [
  'requires_payment_method',
  'requires_capture',
  'requires_confirmation',
  'requires_action',
  'processing',
]

/** Cancels an intent; the caller has checked its status. */
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

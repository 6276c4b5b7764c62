import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  amount,
  choice,
  currency,
  email,
  emptyable,
  flag,
  group,
  ignored,
  list,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
  url,
} from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { amountProblem } from '../core/currency.ts'
import { cardDecline, type DeclineCode } from '../core/declines.ts'
import { refused, StripeError } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { charges } from './charge.ts'
import { customers } from './customer.ts'
import {
  attemptPayment,
  CANCELABLE,
  cancelIntent,
  createPaymentIntent,
  intentSessions,
  paymentIntents,
} from './payment-intent.ts'
import { resolvePaymentMethod, testBehaviours } from './payment-method.ts'

const futureUsage = choice('setup_future_usage', ['off_session', 'on_session'])

// The parameters that all requests about an intent share.
const common = {
  amount_details: ignored(),
  capture_method: choice('capture_method', ['automatic', 'automatic_async']).optional(),
  excluded_payment_method_types: ignored(),
  hooks: ignored(),
  payment_details: ignored(),
  payment_method: text().optional(),
  payment_method_data: unsupported('raw payment method data; use a test payment method'),
  payment_method_options: ignored(),
  shipping: ignored(),
}

/** `POST /v1/payment_intents` */
const intentCreateParams = group({
  ...common,
  allowed_payment_method_types: list(text()).optional(),
  amount: amount('positive'),
  application_fee_amount: unsupported('application fees'),
  automatic_payment_methods: group({
    allow_redirects: choice('allow_redirects', ['always', 'never']).optional(),
    enabled: flag(),
  }).optional(),
  confirm: flag().optional(),
  confirmation_method: choice('confirmation_method', ['automatic', 'manual']).optional(),
  confirmation_token: unsupported('confirmation tokens'),
  currency: currency(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  description: text({ max: 1000 }).optional(),
  error_on_requires_action: ignored(),
  mandate: ignored(),
  mandate_data: ignored(),
  metadata: metadataParam().optional(),
  off_session: flag().optional(),
  on_behalf_of: unsupported('connected accounts'),
  payment_method_configuration: ignored(),
  radar_options: ignored(),
  receipt_email: email().optional(),
  return_url: url().optional(),
  setup_future_usage: futureUsage.optional(),
  statement_descriptor: text({ max: 22 }).optional(),
  statement_descriptor_suffix: text({ max: 22 }).optional(),
  transfer_data: unsupported('connected accounts'),
  transfer_group: text().optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.PaymentIntentCreateParams>)

/** `POST /v1/payment_intents/:id` */
const intentUpdateParams = group({
  ...common,
  allowed_payment_method_types: ignored(),
  amount: amount('positive').optional(),
  application_fee_amount: unsupported('application fees'),
  currency: currency().optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  description: text({ max: 1000 }).optional(),
  metadata: metadataParam().optional(),
  payment_method_configuration: ignored(),
  receipt_email: emptyable(email()).optional(),
  setup_future_usage: emptyable(futureUsage).optional(),
  statement_descriptor: text({ max: 22 }).optional(),
  statement_descriptor_suffix: text({ max: 22 }).optional(),
  transfer_data: unsupported('connected accounts'),
  transfer_group: text().optional(),
} satisfies ShapeOf<Stripe.PaymentIntentUpdateParams>)

type IntentUpdateInput = z.output<typeof intentUpdateParams>

/** `POST /v1/payment_intents/:id/confirm` */
const intentConfirmParams = group({
  ...common,
  allowed_payment_method_types: ignored(),
  amount_to_confirm: ignored(),
  confirmation_token: unsupported('confirmation tokens'),
  error_on_requires_action: ignored(),
  mandate: ignored(),
  mandate_data: ignored(),
  off_session: flag().optional(),
  radar_options: ignored(),
  receipt_email: emptyable(email()).optional(),
  return_url: url().optional(),
  setup_future_usage: emptyable(futureUsage).optional(),
  use_stripe_sdk: ignored(),
} satisfies ShapeOf<Stripe.PaymentIntentConfirmParams>)

const PATH = '/v1/payment_intents'
const kind = paymentIntents.name

/** @see https://docs.stripe.com/api/payment_intents */
export const paymentIntentResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    latest_charge: { kind: 'charge' },
    payment_method: { kind: 'payment_method' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: intentCreateParams,
      run(call, { payment_method: wanted, ...params }) {
        checkAmount(params.amount, params.currency)
        if (params.customer !== undefined) existing(call, customers, params.customer, 'customer')
        const method =
          wanted === undefined ? null : resolvePaymentMethod(call, wanted, 'payment_method').id
        const intent = createPaymentIntent(call, {
          ...params,
          metadata: changeMetadata({}, params.metadata),
          payment_method: method,
          payment_method_types: params.allowed_payment_method_types,
        })
        emitEvent(call, 'payment_intent.created', intent)
        if (!params.confirm) return intent
        return confirmIntent(call, intent.id, { offSession: params.off_session })
      },
    }),
    retrieveOperation(`${PATH}/:id`, paymentIntents, 'intent'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: intentUpdateParams,
      run: (call, params, { id = '' }) => updateIntent(call, id, params),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/confirm`,
      returns: kind,
      params: intentConfirmParams,
      run(call, params, { id = '' }) {
        existing(call, paymentIntents, id, 'intent', 404)
        const { payment_method: paymentMethod, off_session: offSession } = params
        return confirmIntent(call, id, { paymentMethod, offSession })
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/cancel`,
      returns: kind,
      params: group({
        cancellation_reason: choice('cancellation_reason', [
          'duplicate',
          'fraudulent',
          'requested_by_customer',
          'abandoned',
        ]).optional(),
      }),
      run(call, { cancellation_reason: reason }, { id = '' }) {
        const { status } = existing(call, paymentIntents, id, 'intent', 404)
        refuseCheckoutIntent(call, id)
        if (!CANCELABLE.includes(status)) throw wrongStatus('cancel this PaymentIntent', status)
        return cancelIntent(call, id, reason ?? null)
      },
    }),
    searchOperation({
      path: `${PATH}/search`,
      table: paymentIntents,
      fields: {
        amount: 'numeric',
        created: 'numeric',
        currency: 'token',
        customer: 'token',
        status: 'token',
      },
    }),
    listOperation({
      path: PATH,
      table: paymentIntents,
      filters: {
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
      },
      where({ created, customer }) {
        const within = createdWithin(created)
        return (intent) =>
          within(intent) && (customer ?? idOf(intent.customer)) === idOf(intent.customer)
      },
    }),
  ],
}

function updateIntent(call: Call, id: string, params: IntentUpdateInput): Stripe.PaymentIntent {
  const intent = existing(call, paymentIntents, id, 'intent', 404)
  const { amount = intent.amount, currency = intent.currency, customer } = params
  const money = params.amount ?? params.currency ?? customer ?? params.payment_method
  if (money !== undefined) {
    refuseCheckoutIntent(call, id)
    if (!UPDATABLE.includes(intent.status)) throw wrongStatus('update it that way', intent.status)
    checkAmount(amount, currency)
    if (customer !== undefined) existing(call, customers, customer, 'customer')
  }
  const method = params.payment_method
  const { description, receipt_email, statement_descriptor, transfer_group } = params
  return changeRow(call, paymentIntents, id, {
    ...givenFields({ customer, description, receipt_email, statement_descriptor, transfer_group }),
    amount,
    currency,
    metadata: changeMetadata(intent.metadata, params.metadata),
    ...(method === undefined
      ? {}
      : {
          payment_method: resolvePaymentMethod(call, method, 'payment_method').id,
          status: 'requires_confirmation',
        }),
  })
}

const UPDATABLE = ['requires_payment_method', 'requires_confirmation', 'requires_action']

function checkAmount(amount: number, currency: string): void {
  const problem = amountProblem(amount, currency, 'intent')
  if (problem !== null) throw problem
}

function wrongStatus(action: string, status: string) {
  const allowed = action.startsWith('cancel') ? CANCELABLE : UPDATABLE
  return refused(
    `You cannot ${action} because it has a status of ${status}. Only a PaymentIntent with one of the following statuses may be used: ${allowed.join(', ')}.`,
    { code: 'payment_intent_unexpected_state' },
  )
}

const CONFIRMABLE = ['requires_payment_method', 'requires_confirmation', 'requires_action']

export type ConfirmOptions = {
  paymentMethod?: string | undefined
  /** The payer is absent and cannot authenticate. */
  offSession?: boolean | undefined
}

/**
 * Charges an intent with its payment method.
 *
 * @throws StripeError 402 when the card is declined; the charge and its events exist nevertheless.
 * @see https://docs.stripe.com/api/payment_intents/confirm
 */
function confirmIntent(call: Call, id: string, options: ConfirmOptions): Stripe.PaymentIntent {
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
  if (behaviour.needsAuthentication && !options.offSession)
    return requireAuthentication(call, id, method)
  const decline =
    call.decline ?? (behaviour.needsAuthentication ? 'authentication_required' : behaviour.decline)
  if (decline === null) return attemptPayment(call, id, method, { status: 'succeeded' })
  const failed = attemptPayment(call, id, method, {
    status: 'failed',
    failure: cardDecline(decline),
  })
  throw declineError(call, failed, decline, method)
}

/** An intent of Checkout can only be paid on the hosted page, and it ends with its session. */
function refuseCheckoutIntent({ account }: Call, id: string): void {
  if (account.rows(intentSessions).get(id) === undefined) return
  throw refused('You cannot perform this action on PaymentIntents created by Checkout.')
}

function requireAuthentication(
  call: Call,
  id: string,
  method: Stripe.PaymentMethod,
): Stripe.PaymentIntent {
  const intent = changeRow(call, paymentIntents, id, {
    status: 'requires_action',
    payment_method: method.id,
    next_action: { type: 'use_stripe_sdk', use_stripe_sdk: {} },
  })
  emitEvent(call, 'payment_intent.requires_action', intent)
  return intent
}

function declineError(
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

import type Stripe from 'stripe'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { choice, group, text, timeRange, unsupported } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { refused } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import { createPaymentIntent, paymentIntents } from '../objects/payment-intent.ts'
import { CANCELABLE, cancelIntent } from '../payments/cancel-intent.ts'
import { amountProblem } from '../payments/check-amount.ts'
import { confirmIntent, refuseCheckoutIntent } from '../payments/confirm-intent.ts'
import { resolvePaymentMethod } from '../payments/test-payment-methods.ts'
import {
  type IntentUpdateInput,
  intentConfirmParams,
  intentCreateParams,
  intentUpdateParams,
} from './payment-intent-params.ts'

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

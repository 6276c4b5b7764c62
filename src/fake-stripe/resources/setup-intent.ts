import type Stripe from 'stripe'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { choice, flag, group, text, timeRange, unsupported } from '../api/params.ts'
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
import { customers } from '../objects/customer.ts'
import { insertSetupIntent, setupIntents } from '../objects/setup-intent.ts'
import { confirmSetup, OPEN_SETUP, wrongSetupState } from '../payments/confirm-setup.ts'
import { resolvePaymentMethod } from '../payments/test-payment-methods.ts'
import {
  type SetupUpdateInput,
  setupConfirmParams,
  setupCreateParams,
  setupUpdateParams,
} from './setup-intent-params.ts'

const PATH = '/v1/setup_intents'
const kind = setupIntents.name

/** @see https://docs.stripe.com/api/setup_intents */
export const setupIntentResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    payment_method: { kind: 'payment_method' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: setupCreateParams,
      run(call, { payment_method: wanted, customer, ...params }) {
        if (customer !== undefined) existing(call, customers, customer, 'customer')
        const method =
          wanted === undefined ? null : resolvePaymentMethod(call, wanted, 'payment_method').id
        const intent = insertSetupIntent(call, {
          customer: customer ?? null,
          description: params.description ?? null,
          metadata: changeMetadata({}, params.metadata),
          types: params.allowed_payment_method_types ?? ['card'],
          method,
          usage: params.usage,
        })
        emitEvent(call, 'setup_intent.created', intent)
        return params.confirm ? confirmSetup(call, intent.id) : intent
      },
    }),
    retrieveOperation(`${PATH}/:id`, setupIntents, 'intent'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: setupUpdateParams,
      run: (call, params, { id = '' }) => updateSetup(call, id, params),
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/confirm`,
      returns: kind,
      params: setupConfirmParams,
      run(call, { payment_method: method }, { id = '' }) {
        existing(call, setupIntents, id, 'intent', 404)
        return confirmSetup(call, id, method)
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/cancel`,
      returns: kind,
      params: group({
        cancellation_reason: choice('cancellation_reason', [
          'abandoned',
          'duplicate',
          'requested_by_customer',
        ]).optional(),
      }),
      run(call, { cancellation_reason: reason = null }, { id = '' }) {
        const intent = existing(call, setupIntents, id, 'intent', 404)
        if (!OPEN_SETUP.includes(intent.status)) throw wrongSetupState(intent, 'cancel')
        const canceled = changeRow(call, setupIntents, id, {
          status: 'canceled',
          cancellation_reason: reason,
          next_action: null,
        })
        emitEvent(call, 'setup_intent.canceled', canceled)
        return canceled
      },
    }),
    listOperation({
      path: PATH,
      table: setupIntents,
      filters: {
        attach_to_self: flag().optional(),
        created: timeRange().optional(),
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
        payment_method: text().optional(),
      },
      where({ attach_to_self: self, created, customer, payment_method: method }) {
        const within = createdWithin(created)
        return (intent) =>
          self !== true && // the fake makes none of these
          within(intent) &&
          (customer ?? idOf(intent.customer)) === idOf(intent.customer) &&
          (method ?? idOf(intent.payment_method)) === idOf(intent.payment_method)
      },
    }),
  ],
}

/** Stripe sends no event for an update. */
function updateSetup(call: Call, id: string, params: SetupUpdateInput): Stripe.SetupIntent {
  const intent = existing(call, setupIntents, id, 'intent', 404)
  const { customer, description, payment_method: wanted } = params
  if (!OPEN_SETUP.includes(intent.status) && (customer ?? wanted) !== undefined)
    throw wrongSetupState(intent, 'update')
  if (customer !== undefined) existing(call, customers, customer, 'customer')
  return changeRow(call, setupIntents, id, {
    ...givenFields({ customer, description }),
    metadata: changeMetadata(intent.metadata ?? {}, params.metadata),
    ...(wanted === undefined
      ? {}
      : {
          payment_method: resolvePaymentMethod(call, wanted, 'payment_method').id,
          status: 'requires_confirmation',
        }),
  })
}

import type Stripe from 'stripe'
import { listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { choice, group, text, unsupported } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { invalidParameter, noSuch, refused } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import { PAYMENT_METHOD_KINDS, paymentMethods } from '../objects/payment-method.ts'
import { attachPaymentMethod } from '../payments/attach-payment-method.ts'
import { changePaymentMethod } from '../payments/change-payment-method.ts'
import { detachPaymentMethod } from '../payments/detach-payment-method.ts'
import { billingDetails, newPaymentMethod } from '../payments/new-payment-method.ts'
import {
  type MethodUpdateInput,
  methodCreateParams,
  methodUpdateParams,
} from './payment-method-params.ts'

const kind = choice('type', PAYMENT_METHOD_KINDS).optional()
const redisplay = choice('allow_redisplay', ['always', 'limited', 'unspecified']).optional()

/** @see https://docs.stripe.com/api/payment_methods */
export const paymentMethodResource: Resource = {
  kind: paymentMethods.name,
  expandable: { customer: { kind: 'customer' } },
  operations: [
    operation({
      method: 'POST',
      path: '/v1/payment_methods',
      returns: paymentMethods.name,
      params: methodCreateParams,
      run: newPaymentMethod,
    }),
    operation({
      method: 'POST',
      path: '/v1/payment_methods/:id',
      returns: paymentMethods.name,
      params: methodUpdateParams,
      run: (call, params, { id = '' }) => updateMethod(call, id, params),
    }),
    retrieveOperation('/v1/payment_methods/:id', paymentMethods, 'payment_method'),
    operation({
      method: 'POST',
      path: '/v1/payment_methods/:id/attach',
      returns: paymentMethods.name,
      params: group({ customer: text() }),
      run: (call, { customer }, { id = '' }) =>
        attachPaymentMethod(call, id, customer, 'payment_method', 404),
    }),
    operation({
      method: 'POST',
      path: '/v1/payment_methods/:id/detach',
      returns: paymentMethods.name,
      params: group({}),
      run(call, _params, { id = '' }) {
        const before = existing(call, paymentMethods, id, 'payment_method', 404)
        if (before.customer === null)
          throw refused(
            'The payment method you provided is not attached to a customer so detachment is impossible.',
            { code: 'payment_method_unexpected_state' },
          )
        return detachPaymentMethod(call, id)
      },
    }),
    listOperation({
      path: '/v1/payment_methods',
      table: paymentMethods,
      filters: {
        allow_redisplay: redisplay,
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
        type: kind,
      },
      where:
        ({ allow_redisplay: shown, customer, type }) =>
        (method) =>
          method.customer !== null &&
          (customer ?? idOf(method.customer)) === idOf(method.customer) &&
          (shown ?? method.allow_redisplay) === method.allow_redisplay &&
          (type ?? method.type) === method.type,
    }),
    listOperation({
      path: '/v1/customers/:id/payment_methods',
      table: paymentMethods,
      filters: { allow_redisplay: redisplay, type: kind },
      where({ allow_redisplay: shown, type }, call, { id = '' }) {
        existing(call, customers, id, 'customer', 404)
        return (method) =>
          idOf(method.customer) === id &&
          (shown ?? method.allow_redisplay) === method.allow_redisplay &&
          (type ?? method.type) === method.type
      },
    }),
    operation({
      method: 'GET',
      path: '/v1/customers/:customer/payment_methods/:id',
      returns: paymentMethods.name,
      params: group({}),
      run(call, _params, { customer = '', id = '' }) {
        existing(call, customers, customer, 'customer', 404)
        const method = existing(call, paymentMethods, id, 'payment_method', 404)
        if (idOf(method.customer) === customer) return method
        throw noSuch('payment_method', id, 'payment_method', 404)
      },
    }),
  ],
}

function updateMethod(call: Call, id: string, params: MethodUpdateInput): Stripe.PaymentMethod {
  const method = existing(call, paymentMethods, id, 'payment_method', 404)
  if (method.customer === null)
    throw refused('You must save this PaymentMethod to a customer before you can update it.', {
      code: 'payment_method_unexpected_state',
    })
  const { card } = params
  if (card !== undefined && method.card === undefined)
    throw invalidParameter(
      'card',
      `You passed \`card\` for a PaymentMethod of type ${method.type}.`,
    )
  const { exp_month, exp_year } = card ?? {}
  const patch: Partial<Stripe.PaymentMethod> = {
    ...givenFields({ allow_redisplay: params.allow_redisplay }),
    billing_details: billingDetails(method.billing_details, params.billing_details),
    metadata: changeMetadata(method.metadata ?? {}, params.metadata),
    ...(method.card === undefined
      ? {}
      : { card: { ...method.card, ...givenFields({ exp_month, exp_year }) } }),
  }
  return changePaymentMethod(call, id, patch, 'payment_method.updated')
}

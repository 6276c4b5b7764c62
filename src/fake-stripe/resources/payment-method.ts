import { listOperation } from '../api/list-operation.ts'
import { choice, group, text } from '../api/params.ts'
import { existing, operation, type Resource, retrieveOperation } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { refused } from '../core/stripe-error.ts'
import { PAYMENT_METHOD_KINDS, paymentMethods } from '../objects/payment-method.ts'
import { attachPaymentMethod } from '../payments/attach-payment-method.ts'

const kind = choice('type', PAYMENT_METHOD_KINDS).optional()

/** @see https://docs.stripe.com/api/payment_methods */
export const paymentMethodResource: Resource = {
  kind: paymentMethods.name,
  expandable: { customer: { kind: 'customer' } },
  operations: [
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
        const after = changeRow(call, paymentMethods, id, { customer: null })
        emitEvent(call, 'payment_method.detached', after, before)
        return after
      },
    }),
    listOperation({
      path: '/v1/payment_methods',
      table: paymentMethods,
      filters: { customer: text().optional(), type: kind },
      where:
        ({ customer, type }) =>
        (method) =>
          method.customer !== null &&
          (customer ?? idOf(method.customer)) === idOf(method.customer) &&
          (type ?? method.type) === method.type,
    }),
    listOperation({
      path: '/v1/customers/:id/payment_methods',
      table: paymentMethods,
      filters: { type: kind },
      where:
        ({ type }, _call, { id = '' }) =>
        (method) =>
          idOf(method.customer) === id && (type ?? method.type) === method.type,
    }),
  ],
}

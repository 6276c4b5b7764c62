import type Stripe from 'stripe'
import { existing } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { refused } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import { resolvePaymentMethod } from './test-payment-methods.ts'

/**
 * Saves a payment method, or a new one by a test name, with a customer.
 *
 * @throws StripeError when there is no such method or customer, or it belongs to another one.
 */
export function attachPaymentMethod(
  scope: Scope,
  id: string,
  customer: string,
  param: string,
  status: 400 | 404,
): Stripe.PaymentMethod {
  existing(scope, customers, customer, 'customer')
  const method = resolvePaymentMethod(scope, id, param, status)
  const owner = idOf(method.customer)
  if (owner === customer) return method
  if (owner !== null)
    throw refused('The payment method you provided has already been attached to a customer.', {
      code: 'payment_method_unexpected_state',
    })
  const attached = changeRow(scope, paymentMethods, method.id, { customer })
  emitEvent(scope, 'payment_method.attached', attached)
  return attached
}

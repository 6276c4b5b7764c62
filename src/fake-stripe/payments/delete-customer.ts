import type Stripe from 'stripe'
import { cancelSubscription, ENDED } from '../billing/cancel-subscription.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { customers, deletedCustomers } from '../objects/customer.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import { subscriptions } from '../objects/subscription.ts'
import { detachPaymentMethod } from './detach-payment-method.ts'

/**
 * Ends a customer for good, with its subscriptions and saved payment methods; only
 * `{ deleted: true }` stays readable under its id.
 *
 * @see https://docs.stripe.com/api/customers/delete
 */
export function deleteCustomer(scope: Scope, id: string): Stripe.DeletedCustomer {
  const { account } = scope
  const customer = requireRow(scope, customers, id)
  for (const subscription of account.rows(subscriptions).all((row) => idOf(row.customer) === id))
    if (!ENDED.includes(subscription.status)) cancelSubscription(scope, subscription.id)
  // Now, so that taking its methods away changes no defaults of it.
  account.rows(customers).remove(id)
  for (const method of account.rows(paymentMethods).all((row) => idOf(row.customer) === id))
    detachPaymentMethod(scope, method.id)
  const deleted = { id, object: 'customer', deleted: true } as const
  account.rows(deletedCustomers).insert(deleted)
  emitEvent(scope, 'customer.deleted', customer)
  return deleted
}

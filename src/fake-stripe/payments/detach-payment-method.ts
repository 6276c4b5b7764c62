import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { cards } from '../objects/card.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import { forgetDefaults } from './default-method.ts'

/**
 * Takes a payment method from its customer for good; a legacy card goes with it. The caller has
 * checked that it has one.
 *
 * @see https://docs.stripe.com/api/payment_methods/detach
 */
export function detachPaymentMethod(scope: Scope, id: string): Stripe.PaymentMethod {
  const before = requireRow(scope, paymentMethods, id)
  const card = scope.account.rows(cards).get(id)
  const after = changeRow(scope, paymentMethods, id, { customer: null })
  scope.account.rows(cards).remove(id)
  if (card !== undefined) emitEvent(scope, 'customer.source.deleted', card)
  emitEvent(scope, 'payment_method.detached', after, before)
  forgetDefaults(scope, idOf(before.customer) ?? '', id)
  return after
}

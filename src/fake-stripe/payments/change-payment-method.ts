import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { NotPossible } from '../core/not-possible.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { paymentMethods } from '../objects/payment-method.ts'
import { followMethod } from './card-source.ts'

/** Changes a payment method and the legacy card that it may be, and tells of both. */
export function changePaymentMethod(
  scope: Scope,
  id: string,
  patch: Partial<Stripe.PaymentMethod>,
  event: 'payment_method.updated' | 'payment_method.automatically_updated',
): Stripe.PaymentMethod {
  const before = requireRow(scope, paymentMethods, id)
  const after = changeRow(scope, paymentMethods, id, patch)
  emitEvent(scope, event, after, before)
  followMethod(scope, after)
  return after
}

/** What a card's network tells Stripe of a card that was replaced. */
export type CardRenewal = {
  exp_month?: number | undefined
  exp_year?: number | undefined
  last4?: string | undefined
}

/**
 * The card network replaced a saved card, by default by one that is valid four years longer.
 *
 * @throws NotPossible when the payment method is no card.
 * @see https://docs.stripe.com/saving-cards#automatic-card-updates
 */
export function renewCard(scope: Scope, id: string, renewal: CardRenewal): Stripe.PaymentMethod {
  const { card } = requireRow(scope, paymentMethods, id)
  if (card === undefined) throw new NotPossible(`${id} is no card`)
  const renewed = {
    ...card,
    exp_month: renewal.exp_month ?? card.exp_month,
    exp_year: renewal.exp_year ?? card.exp_year + 4,
    last4: renewal.last4 ?? card.last4,
  }
  return changePaymentMethod(scope, id, { card: renewed }, 'payment_method.automatically_updated')
}

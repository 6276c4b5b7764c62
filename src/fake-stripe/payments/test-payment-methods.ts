import type Stripe from 'stripe'
import type { Scope } from '../core/scope.ts'
import { noSuch } from '../core/stripe-error.ts'
import {
  createPaymentMethod,
  type PaymentMethodKind,
  paymentMethods,
} from '../objects/payment-method.ts'
import { cardOf, testCardByName } from './test-cards.ts'

/** Stripe's test bank accounts; its test cards are in `test-cards.ts`. */
const TEST_BANKS = new Map<string, PaymentMethodKind>([
  ['pm_usBankAccount', 'us_bank_account'],
  ['pm_sepaDebit', 'sepa_debit'],
])

/**
 * A payment method by its id, or a new one by the name of a test method.
 *
 * @throws StripeError when there is neither.
 */
export function resolvePaymentMethod(
  scope: Scope,
  id: string,
  param: string,
  status: 400 | 404 = 400,
): Stripe.PaymentMethod {
  const row = scope.account.rows(paymentMethods).get(id)
  if (row !== undefined) return row
  const bank = TEST_BANKS.get(id)
  const card = testCardByName('pm_card_', id)
  if (scope.account.livemode) throw noSuch('PaymentMethod', id, param, status)
  if (bank !== undefined) return createPaymentMethod(scope, bank)
  if (card === undefined) throw noSuch('PaymentMethod', id, param, status)
  return createPaymentMethod(scope, 'card', {}, card, { card: cardOf(card) })
}

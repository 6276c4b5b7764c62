import type Stripe from 'stripe'
import type { Scope } from '../core/scope.ts'
import { noSuch } from '../core/stripe-error.ts'
import {
  createPaymentMethod,
  type PaymentMethodKind,
  paymentMethods,
  type TestBehaviour,
} from '../objects/payment-method.ts'
import type { DeclineCode } from './payment-failure.ts'

type TestMethod = TestBehaviour & { kind: PaymentMethodKind }

const card = (decline: DeclineCode | null = null, needsAuthentication = false): TestMethod => ({
  kind: 'card',
  decline,
  needsAuthentication,
})

/** Stripe's test payment methods. @see https://docs.stripe.com/testing */
const TEST_METHODS = new Map<string, TestMethod>([
  ['pm_card_visa', card()],
  ['pm_card_mastercard', card()],
  ['pm_card_amex', card()],
  ['pm_card_us', card()],
  ['pm_card_chargeCustomerFail', card('generic_decline')],
  ['pm_card_chargeDeclined', card('generic_decline')],
  ['pm_card_visa_chargeDeclined', card('generic_decline')],
  ['pm_card_chargeDeclinedInsufficientFunds', card('insufficient_funds')],
  ['pm_card_visa_chargeDeclinedInsufficientFunds', card('insufficient_funds')],
  ['pm_card_visa_chargeDeclinedLostCard', card('lost_card')],
  ['pm_card_visa_chargeDeclinedStolenCard', card('stolen_card')],
  ['pm_card_chargeDeclinedExpiredCard', card('expired_card')],
  ['pm_card_chargeDeclinedIncorrectCvc', card('incorrect_cvc')],
  ['pm_card_chargeDeclinedProcessingError', card('processing_error')],
  ['pm_card_authenticationRequired', card(null, true)],
  ['pm_usBankAccount', { kind: 'us_bank_account', decline: null, needsAuthentication: false }],
  ['pm_sepaDebit', { kind: 'sepa_debit', decline: null, needsAuthentication: false }],
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
  const test = TEST_METHODS.get(id)
  if (test === undefined || scope.account.livemode) throw noSuch('PaymentMethod', id, param, status)
  return createPaymentMethod(scope, test.kind, {}, test)
}

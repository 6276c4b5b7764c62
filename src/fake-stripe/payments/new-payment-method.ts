import type Stripe from 'stripe'
import { fullAddress } from '../api/address-param.ts'
import { changeMetadata } from '../api/metadata.ts'
import { givenFields } from '../core/given-fields.ts'
import type { Scope } from '../core/scope.ts'
import { invalidParameter, refused, StripeError } from '../core/stripe-error.ts'
import { createPaymentMethod } from '../objects/payment-method.ts'
import type { MethodCreateInput, MethodUpdateInput } from '../resources/payment-method-params.ts'
import { tokenCard } from './card-source.ts'
import { cardOf, type Expiry, type TestCard, testCardByNumber } from './test-cards.ts'

type CardInput = NonNullable<MethodCreateInput['card']>

/**
 * A payment method from raw details, unattached; Stripe sends no event for it.
 *
 * @throws StripeError for a card number that Stripe's test mode does not know.
 * @see https://docs.stripe.com/api/payment_methods/create
 */
export function newPaymentMethod(scope: Scope, input: MethodCreateInput): Stripe.PaymentMethod {
  const fields = {
    ...givenFields({ allow_redisplay: input.allow_redisplay ?? 'unspecified' }),
    billing_details: billingDetails(undefined, input.billing_details),
    metadata: changeMetadata({}, input.metadata),
  }
  if (input.type !== 'card') return createPaymentMethod(scope, input.type, {}, undefined, fields)
  if (input.card === undefined) throw missing('card')
  const { test, expiry } = cardFrom(scope, input.card)
  return createPaymentMethod(scope, 'card', {}, test, { ...fields, card: cardOf(test, expiry) })
}

/** Applies a change of billing details to what there is. */
export function billingDetails(
  current: Stripe.PaymentMethod.BillingDetails | undefined,
  change: MethodUpdateInput['billing_details'],
): Stripe.PaymentMethod.BillingDetails {
  const { address, email, name, phone, tax_id: taxId } = change ?? {}
  const old = current ?? { address: null, email: null, name: null, phone: null, tax_id: null }
  return {
    ...old,
    ...givenFields({ email, name, phone, tax_id: taxId }),
    address: fullAddress(address === null ? {} : { ...old.address, ...givenFields(address ?? {}) }),
  }
}

function cardFrom(scope: Scope, card: CardInput): { test: TestCard; expiry?: Expiry } {
  if (card.token !== undefined) return { test: tokenCard(scope, card.token, 'card[token]') }
  if (card.number === undefined) throw missing('card[number]')
  if (scope.account.livemode)
    throw refused('The fake Stripe takes no card numbers in live mode.', { param: 'card[number]' })
  const test = testCardByNumber(card.number)
  if (test === undefined) throw cardError('incorrect_number', 'Your card number is incorrect.')
  return { test, expiry: expiryOf(scope, card) }
}

function expiryOf({ world }: Scope, card: CardInput): Expiry {
  const { exp_month: month, exp_year: given } = card
  if (month === undefined) throw missing('card[exp_month]')
  if (given === undefined) throw missing('card[exp_year]')
  const year = given < 100 ? given + 2000 : given
  // Valid through the last day of its month.
  if (Date.UTC(year, month) > world.clock.now()) return { month, year }
  throw cardError('invalid_expiry_year', "Your card's expiration year is invalid.")
}

function missing(param: string): StripeError {
  return invalidParameter(param, `Missing required param: ${param}.`, 'parameter_missing')
}

function cardError(code: string, message: string): StripeError {
  return new StripeError(402, 'card_error', message, { code }, { stored: true })
}

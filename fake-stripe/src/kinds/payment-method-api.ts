import type Stripe from 'stripe'
import type { z } from 'zod'
import { addressParam, changeMetadata, fullAddress, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  choice,
  email,
  emptyable,
  group,
  ignored,
  integer,
  type ShapeOf,
  text,
  unsupported,
  unsupportedAll,
} from '../api/params.ts'
import { givenFields } from '../core/changes.ts'
import { invalidParameter, noSuch, refused, StripeError } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from './customer.ts'
import {
  cardOf,
  createPaymentMethod,
  type Expiry,
  PAYMENT_METHOD_KINDS,
  paymentMethods,
  type TestCard,
  testCardByNumber,
} from './payment-method.ts'
import {
  attachPaymentMethod,
  changePaymentMethod,
  detachPaymentMethod,
  tokenCard,
} from './saved-payment-method.ts'

const billingDetailsShape = {
  address: addressParam().optional(),
  email: emptyable(email()).optional(),
  name: emptyable(text()).optional(),
  phone: emptyable(text({ max: 20 })).optional(),
  tax_id: text().optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams.BillingDetails>

const redisplayParam = choice('allow_redisplay', ['always', 'limited', 'unspecified'])
const expiry = {
  exp_month: integer({ min: 1, max: 12 }).optional(),
  exp_year: integer({ min: 0, max: 2100 }).optional(),
}

const newCard = {
  ...expiry,
  cvc: text({ max: 4 }).optional(),
  networks: ignored(),
  number: text().optional(),
  token: text().optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams.Card>

const bankAccount = {
  account_holder_type: choice('account_holder_type', ['company', 'individual']).optional(),
  account_number: text().optional(),
  account_type: choice('account_type', ['checking', 'savings']).optional(),
  financial_connections_account: unsupported('financial connections'),
  routing_number: text().optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams.UsBankAccount>

const OTHER_KINDS = [
  ...(['acss_debit', 'affirm', 'afterpay_clearpay', 'alipay', 'alma', 'amazon_pay'] as const),
  ...(['au_becs_debit', 'bacs_debit', 'bancontact', 'billie', 'bizum', 'blik', 'boleto'] as const),
  ...(['cashapp', 'crypto', 'custom', 'eps', 'fpx', 'giropay', 'grabpay', 'ideal'] as const),
  ...(['interac_present', 'kakao_pay', 'klarna', 'konbini', 'kr_card', 'link', 'mb_way'] as const),
  ...(['mobilepay', 'multibanco', 'naver_pay', 'nz_bank_account', 'oxxo', 'p24'] as const),
  ...(['pay_by_bank', 'payco', 'paynow', 'paypal', 'paypay', 'payto', 'pix'] as const),
  ...(['promptpay', 'revolut_pay', 'samsung_pay', 'satispay', 'scalapay', 'sequra'] as const),
  ...(['sofort', 'sunbit', 'swish', 'twint', 'upi', 'wechat_pay', 'zip'] as const),
] as const

/** `POST /v1/payment_methods` */
const methodCreateParams = group({
  ...unsupportedAll(OTHER_KINDS, 'this kind of payment method'),
  allow_redisplay: redisplayParam.optional(),
  billing_details: group(billingDetailsShape).optional(),
  card: group(newCard).optional(),
  customer: unsupported('cloning of payment methods'),
  customer_balance: ignored(),
  metadata: metadataParam().optional(),
  payment_method: unsupported('cloning of payment methods'),
  radar_options: ignored(),
  sepa_debit: group({ iban: text() }).optional(),
  type: choice('type', PAYMENT_METHOD_KINDS),
  us_bank_account: group(bankAccount).optional(),
} satisfies ShapeOf<Stripe.PaymentMethodCreateParams>)

/** `POST /v1/payment_methods/:id` */
const methodUpdateParams = group({
  allow_redisplay: redisplayParam.optional(),
  billing_details: group(billingDetailsShape).optional(),
  card: group({ ...expiry, networks: ignored() }).optional(),
  metadata: metadataParam().optional(),
  us_bank_account: ignored(),
} satisfies ShapeOf<Stripe.PaymentMethodUpdateParams>)

type MethodCreateInput = z.output<typeof methodCreateParams>
type MethodUpdateInput = z.output<typeof methodUpdateParams>

const typeFilter = choice('type', PAYMENT_METHOD_KINDS).optional()
const redisplayFilter = choice('allow_redisplay', ['always', 'limited', 'unspecified']).optional()

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
        allow_redisplay: redisplayFilter,
        customer: text().optional(),
        customer_account: unsupported('customer accounts'),
        type: typeFilter,
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
      filters: { allow_redisplay: redisplayFilter, type: typeFilter },
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

type CardInput = NonNullable<MethodCreateInput['card']>

/**
 * Creates a payment method from raw details, unattached; Stripe sends no event.
 *
 * @throws StripeError for a card number that is not one of Stripe's test cards.
 * @see https://docs.stripe.com/api/payment_methods/create
 */
function newPaymentMethod(scope: Scope, input: MethodCreateInput): Stripe.PaymentMethod {
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

/** Applies a change to existing billing details. */
function billingDetails(
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
    throw refused('fake-stripe accepts no card numbers in live mode.', { param: 'card[number]' })
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

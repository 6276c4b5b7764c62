import type Stripe from 'stripe'
import { existing } from '../api/operations.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { cardDecline } from '../core/declines.ts'
import { InvalidState, noSuch, refused, StripeError } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from './customer.ts'
import {
  BRAND_NAMES,
  cardOf,
  createPaymentMethod,
  paymentMethods,
  resolvePaymentMethod,
  type TestCard,
  testCardByName,
} from './payment-method.ts'

/**
 * Attaches a payment method, or a new one from the name of a test method, to a customer.
 *
 * @throws StripeError when the method or customer does not exist, or the method belongs to another
 *   customer.
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

/**
 * Detaches a payment method from its customer; a legacy card is deleted with it. The caller has
 * checked that it has a customer.
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
  clearDefaults(scope, idOf(before.customer) ?? '', id)
  return after
}

/** Changes a payment method and its legacy card, if there is one, and sends the events of both. */
export function changePaymentMethod(
  scope: Scope,
  id: string,
  patch: Partial<Stripe.PaymentMethod>,
  event: 'payment_method.updated' | 'payment_method.automatically_updated',
): Stripe.PaymentMethod {
  const before = requireRow(scope, paymentMethods, id)
  const after = changeRow(scope, paymentMethods, id, patch)
  emitEvent(scope, event, after, before)
  syncCardWithMethod(scope, after)
  return after
}

/** The data of a card that replaces a saved one. */
export type CardRenewal = {
  exp_month?: number | undefined
  exp_year?: number | undefined
  last4?: string | undefined
}

/**
 * The card network replaced a saved card; by default the new one is valid four years longer.
 *
 * @throws InvalidState when the payment method is not a card.
 * @see https://docs.stripe.com/saving-cards#automatic-card-updates
 */
export function renewCard(scope: Scope, id: string, renewal: CardRenewal): Stripe.PaymentMethod {
  const { card } = requireRow(scope, paymentMethods, id)
  if (card === undefined) throw new InvalidState(`${id} is no card`)
  const renewed = {
    ...card,
    exp_month: renewal.exp_month ?? card.exp_month,
    exp_year: renewal.exp_year ?? card.exp_year + 4,
    last4: renewal.last4 ?? card.last4,
  }
  return changePaymentMethod(scope, id, { card: renewed }, 'payment_method.automatically_updated')
}

/** Makes a saved card the default source of its customer. */
export function setDefaultSource(scope: Scope, customerId: string, cardId: string | null): void {
  const before = scope.account.rows(customers).get(customerId)
  if (before === undefined || idOf(before.default_source) === cardId) return
  const after = changeRow(scope, customers, customerId, { default_source: cardId })
  emitEvent(scope, 'customer.updated', after, before)
}

/** Removes a detached method from the customer's defaults. */
function clearDefaults(scope: Scope, customerId: string, methodId: string): void {
  const before = scope.account.rows(customers).get(customerId)
  if (before === undefined) return
  if (idOf(before.default_source) === methodId) {
    // The newest of the other cards becomes the default.
    const [next] = scope.account.rows(cards).all((card) => idOf(card.customer) === customerId)
    setDefaultSource(scope, customerId, next?.id ?? null)
  }
  const settings = before.invoice_settings
  if (idOf(settings.default_payment_method) !== methodId) return
  const current = scope.account.rows(customers).get(customerId)
  const after = changeRow(scope, customers, customerId, {
    invoice_settings: { ...settings, default_payment_method: null },
  })
  emitEvent(scope, 'customer.updated', after, current)
}

/**
 * Legacy cards of customers. Each is also a payment method with the same id.
 *
 * @see https://docs.stripe.com/api/cards
 */
export const cards = defineTable<Stripe.Card>('card')

/** Stores the legacy card of a payment method, without an event. */
function insertCard(
  { account }: Scope,
  { id, card, customer }: Stripe.PaymentMethod,
  test: TestCard,
  metadata: Record<string, string>,
): Stripe.Card {
  return account.rows(cards).insert({
    id,
    object: 'card',
    address_city: null,
    address_country: null,
    address_line1: null,
    address_line1_check: null,
    address_line2: null,
    address_state: null,
    address_zip: null,
    address_zip_check: null,
    brand: BRAND_NAMES[test.brand],
    country: test.country,
    customer,
    cvc_check: 'pass',
    dynamic_last4: null,
    exp_month: card?.exp_month ?? 12,
    exp_year: card?.exp_year ?? 2034,
    fingerprint: card?.fingerprint ?? null,
    funding: test.funding,
    last4: test.number.slice(-4),
    metadata,
    name: null,
    regulated_status: 'unregulated',
    tokenization_method: null,
  })
}

/**
 * Saves the card of a test token such as `tok_visa` as a legacy card of a customer.
 *
 * @throws StripeError when the token does not exist, or 402 when the card is declined.
 * @see https://docs.stripe.com/api/cards/create
 */
export function addCard(
  scope: Scope,
  customer: string,
  token: string,
  metadata: Record<string, string> = {},
): Stripe.Card {
  const test = tokenCard(scope, token)
  const method = createPaymentMethod(scope, 'card', {}, test, {
    id: fakeId('card_1'),
    allow_redisplay: 'unspecified',
    card: cardOf(test),
    customer,
    metadata,
  })
  const card = insertCard(scope, method, test, metadata)
  emitEvent(scope, 'customer.source.created', card)
  emitEvent(scope, 'payment_method.attached', method)
  return card
}

/** The test card of a token. @throws StripeError when it does not exist or is declined. */
export function tokenCard({ account }: Scope, token: string, param = 'source'): TestCard {
  const test = account.livemode ? undefined : testCardByName('tok_', token)
  if (test === undefined) throw noSuch('token', token, param)
  if (test.savable) return test
  const failure = cardDecline(test.decline ?? 'generic_decline')
  throw new StripeError(
    402,
    'card_error',
    failure.message,
    { code: failure.code, decline_code: failure.declineCode ?? 'generic_decline' },
    { stored: true },
  )
}

/** Changes a legacy card and its payment method. */
export function changeCard(scope: Scope, id: string, patch: Partial<Stripe.Card>): Stripe.Card {
  const before = requireRow(scope, cards, id)
  const after = changeRow(scope, cards, id, patch)
  emitEvent(scope, 'customer.source.updated', after, before)
  const method = requireRow(scope, paymentMethods, id)
  const changed = changeRow(scope, paymentMethods, id, {
    billing_details: { ...method.billing_details, name: after.name, address: addressOf(after) },
    metadata: after.metadata ?? {},
    ...(method.card === undefined
      ? {}
      : { card: { ...method.card, exp_month: after.exp_month, exp_year: after.exp_year } }),
  })
  emitEvent(scope, 'payment_method.updated', changed, method)
  return after
}

/** Updates the legacy card of a changed payment method; no-op when it has none. */
function syncCardWithMethod(scope: Scope, method: Stripe.PaymentMethod): void {
  const before = scope.account.rows(cards).get(method.id)
  if (before === undefined) return
  const { address, name } = method.billing_details
  const after = changeRow(scope, cards, method.id, {
    address_city: address?.city ?? null,
    address_country: address?.country ?? null,
    address_line1: address?.line1 ?? null,
    address_line2: address?.line2 ?? null,
    address_state: address?.state ?? null,
    address_zip: address?.postal_code ?? null,
    exp_month: method.card?.exp_month ?? before.exp_month,
    exp_year: method.card?.exp_year ?? before.exp_year,
    last4: method.card?.last4 ?? before.last4,
    metadata: method.metadata,
    name,
  })
  emitEvent(scope, 'customer.source.updated', after, before)
}

function addressOf(card: Stripe.Card): Stripe.Address {
  return {
    city: card.address_city,
    country: card.address_country,
    line1: card.address_line1,
    line2: card.address_line2,
    postal_code: card.address_zip,
    state: card.address_state,
  }
}

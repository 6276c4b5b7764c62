import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { fakeId } from '../core/fake-id.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { noSuch, StripeError } from '../core/stripe-error.ts'
import { cards, insertCard } from '../objects/card.ts'
import { createPaymentMethod, paymentMethods } from '../objects/payment-method.ts'
import { cardDecline } from './payment-failure.ts'
import { cardOf, type TestCard, testCardByName } from './test-cards.ts'

/**
 * Saves the card of a test token such as `tok_visa` with a customer, the legacy way.
 *
 * @throws StripeError when there is no such token, or 402 when the bank refuses the card.
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

/** The test card behind a token. @throws StripeError as the API refuses it. */
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

/** Changes a card and, since both are one, its payment method. */
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

/** After its payment method was changed; nothing when that is no legacy card. */
export function followMethod(scope: Scope, method: Stripe.PaymentMethod): void {
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

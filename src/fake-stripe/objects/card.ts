import type Stripe from 'stripe'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import { BRAND_NAMES, type TestCard } from '../payments/test-cards.ts'

/**
 * Legacy cards of customers. Each is a payment method too, under the same id.
 *
 * @see https://docs.stripe.com/api/cards
 */
export const cards = defineTable<Stripe.Card>('card')

/** The source face of a payment method, without an event. */
export function insertCard(
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

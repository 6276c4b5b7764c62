import { createHash } from 'node:crypto'
import type Stripe from 'stripe'
import type { TestBehaviour } from '../objects/payment-method.ts'
import type { DeclineCode } from './payment-failure.ts'

/** One of the card numbers that Stripe's test mode knows. */
export type TestCard = TestBehaviour & {
  number: string
  brand: keyof typeof BRAND_NAMES
  funding: 'credit' | 'debit'
  country: string
}

/** How a legacy card spells the brand that a payment method has in lower case. */
export const BRAND_NAMES = {
  amex: 'American Express',
  diners: 'Diners Club',
  discover: 'Discover',
  jcb: 'JCB',
  mastercard: 'MasterCard',
  unionpay: 'UnionPay',
  visa: 'Visa',
} as const

function good(number: string, fields: Partial<TestCard> = {}): TestCard {
  return {
    number,
    brand: 'visa',
    funding: 'credit',
    country: 'US',
    decline: null,
    needsAuthentication: false,
    savable: true,
    ...fields,
  }
}

/** A card that its bank refuses as soon as it is asked, also when the card is only saved. */
function declined(number: string, decline: DeclineCode): TestCard {
  return good(number, { decline, savable: false })
}

const GENERIC = declined('4000000000000002', 'generic_decline')
const NO_FUNDS = declined('4000000000009995', 'insufficient_funds')

/** By the name that follows `pm_card_` and `tok_`. @see https://docs.stripe.com/testing */
const CARDS = new Map<string, TestCard>([
  ['visa', good('4242424242424242')],
  ['us', good('4242424242424242')],
  ['visa_debit', good('4000056655665556', { funding: 'debit' })],
  ['de', good('4000002760000016', { country: 'DE' })],
  ['mastercard', good('5555555555554444', { brand: 'mastercard' })],
  ['mastercard_debit', good('5200828282828210', { brand: 'mastercard', funding: 'debit' })],
  ['amex', good('378282246310005', { brand: 'amex' })],
  ['discover', good('6011111111111117', { brand: 'discover' })],
  ['diners', good('3056930009020004', { brand: 'diners' })],
  ['jcb', good('3566002020360505', { brand: 'jcb' })],
  ['unionpay', good('6200000000000005', { brand: 'unionpay' })],
  // It can be saved, but no charge of it succeeds.
  ['chargeCustomerFail', good('4000000000000341', { decline: 'generic_decline' })],
  ['chargeDeclined', GENERIC],
  ['visa_chargeDeclined', GENERIC],
  ['chargeDeclinedInsufficientFunds', NO_FUNDS],
  ['visa_chargeDeclinedInsufficientFunds', NO_FUNDS],
  ['visa_chargeDeclinedLostCard', declined('4000000000009987', 'lost_card')],
  ['visa_chargeDeclinedStolenCard', declined('4000000000009979', 'stolen_card')],
  ['chargeDeclinedExpiredCard', declined('4000000000000069', 'expired_card')],
  ['chargeDeclinedIncorrectCvc', declined('4000000000000127', 'incorrect_cvc')],
  ['chargeDeclinedProcessingError', declined('4000000000000119', 'processing_error')],
  ['authenticationRequired', good('4000002760003184', { needsAuthentication: true })],
])

/** `pm_card_visa` or `tok_visa`, as the prefix says. */
export function testCardByName(prefix: 'pm_card_' | 'tok_', id: string): TestCard | undefined {
  return id.startsWith(prefix) ? CARDS.get(id.slice(prefix.length)) : undefined
}

/** Any other number is refused in test mode. */
export function testCardByNumber(number: string): TestCard | undefined {
  const digits = number.replaceAll(/[\s-]/g, '')
  return [...CARDS.values()].find((card) => card.number === digits)
}

export type Expiry = { month: number; year: number }

const FAR_OFF: Expiry = { month: 12, year: 2034 }

/** The card as a payment method shows it. */
export function cardOf(test: TestCard, expiry: Expiry = FAR_OFF): Stripe.PaymentMethod.Card {
  const { brand, country, funding, number } = test
  return {
    brand,
    checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
    country,
    display_brand: brand === 'amex' ? 'american_express' : brand,
    exp_month: expiry.month,
    exp_year: expiry.year,
    fingerprint: fingerprintOf(number),
    funding,
    generated_from: null,
    last4: number.slice(-4),
    networks: { available: [brand], preferred: null },
    regulated_status: 'unregulated',
    three_d_secure_usage: { supported: true },
    wallet: null,
  }
}

/** The same for every card with this number, so that duplicates can be noticed. */
function fingerprintOf(number: string): string {
  return createHash('sha256').update(number).digest('base64url').slice(0, 16)
}

import { createHash } from 'node:crypto'
import type Stripe from 'stripe'
import type { DeclineCode } from '../core/declines.ts'
import { noSuch } from '../core/errors.ts'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

export const paymentMethods = defineTable<Stripe.PaymentMethod>('payment_method')

/** How a test card of Stripe behaves. */
type TestBehaviour = {
  /** The reason for which a charge is declined; null: it succeeds. */
  decline: DeclineCode | null
  needsAuthentication: boolean
  /** Whether the card can be saved; some cards can be saved but not charged. */
  savable: boolean
}

export const testBehaviours = defineTable<{ id: string } & TestBehaviour>(
  'payment_method.behaviour',
  { hidden: true },
)

export const PAYMENT_METHOD_KINDS = [
  'card',
  'us_bank_account',
  'sepa_debit',
  'customer_balance',
] as const

/**
 * `customer_balance` is a bank transfer by the payer; the two debits are collected from the payer.
 */
export type PaymentMethodKind = (typeof PAYMENT_METHOD_KINDS)[number]

export type Payer = { email?: string | null | undefined; name?: string | null | undefined }

const ACCEPTED: TestBehaviour = { decline: null, needsAuthentication: false, savable: true }

/**
 * Stores a new payment method of this kind, unattached.
 *
 * @param fields the fields that differ from the default, such as the card; a legacy card has its
 *   own id.
 */
export function createPaymentMethod(
  { account, world }: Scope,
  kind: PaymentMethodKind,
  payer: Payer = {},
  behaviour: TestBehaviour = ACCEPTED,
  fields: Partial<Stripe.PaymentMethod> = {},
): Stripe.PaymentMethod {
  const method: Stripe.PaymentMethod = {
    id: fakeId('pm_1'),
    object: 'payment_method',
    allow_redisplay: 'limited',
    billing_details: billingDetails(payer),
    ...kindDetails(kind),
    created: world.clock.seconds(),
    customer: null,
    customer_account: null,
    livemode: account.livemode,
    metadata: {},
    type: kind,
    ...fields,
  }
  const { decline, needsAuthentication, savable } = behaviour
  account.rows(testBehaviours).insert({ id: method.id, decline, needsAuthentication, savable })
  return account.rows(paymentMethods).insert(method)
}

function billingDetails({ email, name }: Payer): Stripe.PaymentMethod.BillingDetails {
  const address = {
    city: null,
    country: null,
    line1: null,
    line2: null,
    postal_code: null,
    state: null,
  }
  return { address, email: email ?? null, name: name ?? null, phone: null, tax_id: null }
}

function kindDetails(kind: PaymentMethodKind): Partial<Stripe.PaymentMethod> {
  switch (kind) {
    case 'card':
      return { card: CARD }
    case 'us_bank_account':
      return { us_bank_account: US_BANK_ACCOUNT }
    case 'sepa_debit':
      return { sepa_debit: SEPA_DEBIT }
    case 'customer_balance':
      return { customer_balance: {} }
  }
}

// The card 4242 4242 4242 4242 of Stripe's test mode.
const CARD: Stripe.PaymentMethod.Card = {
  brand: 'visa',
  checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
  country: 'US',
  display_brand: 'visa',
  exp_month: 12,
  exp_year: 2034,
  fingerprint: 'Xt5EWLLDS7FJjR1c',
  funding: 'credit',
  generated_from: null,
  last4: '4242',
  networks: { available: ['visa'], preferred: null },
  regulated_status: 'unregulated',
  three_d_secure_usage: { supported: true },
  wallet: null,
}

const US_BANK_ACCOUNT: Stripe.PaymentMethod.UsBankAccount = {
  account_holder_type: 'company',
  account_type: 'checking',
  bank_name: 'STRIPE TEST BANK',
  financial_connections_account: null,
  fingerprint: 'FFDMA0jJDFjDf0aS',
  last4: '6789',
  networks: { preferred: 'ach', supported: ['ach'] },
  routing_number: '110000000',
  status_details: {},
}

const SEPA_DEBIT: Stripe.PaymentMethod.SepaDebit = {
  bank_code: '37040044',
  branch_code: '',
  country: 'DE',
  fingerprint: 'YSI81mYnlqkPmWJn',
  generated_from: { charge: null, setup_attempt: null },
  last4: '3000',
}

/** Stripe's test bank accounts. */
const TEST_BANKS = new Map<string, PaymentMethodKind>([
  ['pm_usBankAccount', 'us_bank_account'],
  ['pm_sepaDebit', 'sepa_debit'],
])

/**
 * Finds a payment method by its id, or creates one from the name of a test method.
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

/** One of the card numbers that Stripe's test mode knows. */
export type TestCard = TestBehaviour & {
  number: string
  brand: keyof typeof BRAND_NAMES
  funding: 'credit' | 'debit'
  country: string
}

/** The brand names of legacy cards; payment methods have them in lower case. */
export const BRAND_NAMES = {
  amex: 'American Express',
  diners: 'Diners Club',
  discover: 'Discover',
  jcb: 'JCB',
  mastercard: 'MasterCard',
  unionpay: 'UnionPay',
  visa: 'Visa',
} as const

function acceptedCard(number: string, fields: Partial<TestCard> = {}): TestCard {
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

/** A card that is declined when it is charged and when it is saved. */
function declinedCard(number: string, decline: DeclineCode): TestCard {
  return acceptedCard(number, { decline, savable: false })
}

const GENERIC = declinedCard('4000000000000002', 'generic_decline')
const NO_FUNDS = declinedCard('4000000000009995', 'insufficient_funds')

/** By the name that follows `pm_card_` and `tok_`. @see https://docs.stripe.com/testing */
const CARDS = new Map<string, TestCard>([
  ['visa', acceptedCard('4242424242424242')],
  ['us', acceptedCard('4242424242424242')],
  ['visa_debit', acceptedCard('4000056655665556', { funding: 'debit' })],
  ['de', acceptedCard('4000002760000016', { country: 'DE' })],
  ['mastercard', acceptedCard('5555555555554444', { brand: 'mastercard' })],
  ['mastercard_debit', acceptedCard('5200828282828210', { brand: 'mastercard', funding: 'debit' })],
  ['amex', acceptedCard('378282246310005', { brand: 'amex' })],
  ['discover', acceptedCard('6011111111111117', { brand: 'discover' })],
  ['diners', acceptedCard('3056930009020004', { brand: 'diners' })],
  ['jcb', acceptedCard('3566002020360505', { brand: 'jcb' })],
  ['unionpay', acceptedCard('6200000000000005', { brand: 'unionpay' })],
  // It can be saved, but no charge of it succeeds.
  ['chargeCustomerFail', acceptedCard('4000000000000341', { decline: 'generic_decline' })],
  ['chargeDeclined', GENERIC],
  ['visa_chargeDeclined', GENERIC],
  ['chargeDeclinedInsufficientFunds', NO_FUNDS],
  ['visa_chargeDeclinedInsufficientFunds', NO_FUNDS],
  ['visa_chargeDeclinedLostCard', declinedCard('4000000000009987', 'lost_card')],
  ['visa_chargeDeclinedStolenCard', declinedCard('4000000000009979', 'stolen_card')],
  ['chargeDeclinedExpiredCard', declinedCard('4000000000000069', 'expired_card')],
  ['chargeDeclinedIncorrectCvc', declinedCard('4000000000000127', 'incorrect_cvc')],
  ['chargeDeclinedProcessingError', declinedCard('4000000000000119', 'processing_error')],
  ['authenticationRequired', acceptedCard('4000002760003184', { needsAuthentication: true })],
])

/** A test card by a name such as `pm_card_visa` or `tok_visa`. */
export function testCardByName(prefix: 'pm_card_' | 'tok_', id: string): TestCard | undefined {
  return id.startsWith(prefix) ? CARDS.get(id.slice(prefix.length)) : undefined
}

/** A test card by its number; test mode refuses all other numbers. */
export function testCardByNumber(number: string): TestCard | undefined {
  const digits = number.replaceAll(/[\s-]/g, '')
  return [...CARDS.values()].find((card) => card.number === digits)
}

export type Expiry = { month: number; year: number }

const DEFAULT_EXPIRY: Expiry = { month: 12, year: 2034 }

/** The card in the form of a payment method. */
export function cardOf(test: TestCard, expiry: Expiry = DEFAULT_EXPIRY): Stripe.PaymentMethod.Card {
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

/**
 * The fingerprint is the same for every card with this number, so that clients can find duplicates.
 */
function fingerprintOf(number: string): string {
  return createHash('sha256').update(number).digest('base64url').slice(0, 16)
}

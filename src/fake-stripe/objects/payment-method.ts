import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import type { DeclineCode } from '../payments/payment-failure.ts'

export const paymentMethods = defineTable<Stripe.PaymentMethod>('payment_method')

/** What Stripe's test cards do. */
export type TestBehaviour = {
  /** Why a charge fails; null: it succeeds. */
  decline: DeclineCode | null
  needsAuthentication: boolean
  /** Whether the bank lets a card be saved that it will not let be charged. */
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

/** `customer_balance` is a bank transfer that the payer starts; the debits are pulled. */
export type PaymentMethodKind = (typeof PAYMENT_METHOD_KINDS)[number]

export type Payer = { email?: string | null | undefined; name?: string | null | undefined }

const GOOD: TestBehaviour = { decline: null, needsAuthentication: false, savable: true }

/**
 * A new payment method of this kind, unattached.
 *
 * @param fields what differs from the usual, such as the card; a legacy card brings its own id.
 */
export function createPaymentMethod(
  { account, world }: Scope,
  kind: PaymentMethodKind,
  payer: Payer = {},
  behaviour: TestBehaviour = GOOD,
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

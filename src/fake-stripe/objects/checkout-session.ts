import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import type { Cancel } from '../core/fake-clock.ts'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import type {
  PaymentIntentDataInput,
  SessionCreateInput,
  SetupIntentDataInput,
} from '../resources/checkout-session-params.ts'
import type { WireLineItem } from './line-item.ts'

export const checkoutSessions = defineTable<Stripe.Checkout.Session>('checkout.session')

/** What a session remembers for the moment when the payer acts. */
export type SessionPlan = {
  id: string
  paymentIntent: PaymentIntentDataInput
  setupIntent: SetupIntentDataInput
  /** Takes the expiry off the clock. */
  cancelExpiry: Cancel
}

export const sessionPlans = defineTable<SessionPlan>('checkout.session.plan', { hidden: true })

export const DAY_SECONDS = 24 * 60 * 60

type Totals = { currency: string | null; total: number | null }

/** A new open session, without checks, intent and expiry. */
export function buildSession(
  { account, world }: Scope,
  input: SessionCreateInput,
  lines: readonly WireLineItem[],
): Stripe.Checkout.Session {
  const created = world.clock.seconds()
  const id = fakeId(`cs_${account.livemode ? 'live' : 'test'}_a1`, 56)
  const { currency, total } = totals(input, lines)
  return {
    id,
    object: 'checkout.session',
    adaptive_pricing:
      input.mode === 'payment' ? { enabled: input.adaptive_pricing?.enabled ?? true } : null,
    after_expiration: null,
    allow_promotion_codes: input.allow_promotion_codes ?? null,
    allowed_payment_method_types: input.allowed_payment_method_types ?? null,
    amount_subtotal: total,
    amount_total: total,
    automatic_tax: { enabled: false, liability: null, provider: null, status: null },
    billing_address_collection: input.billing_address_collection ?? null,
    cancel_url: input.cancel_url ?? null,
    client_reference_id: input.client_reference_id ?? null,
    client_secret: null,
    collected_information: null,
    consent: null,
    consent_collection: null,
    created,
    currency,
    currency_conversion: null,
    custom_fields: [],
    custom_text: {
      after_submit: null,
      shipping_address: null,
      submit: null,
      terms_of_service_acceptance: null,
    },
    customer: input.customer ?? null,
    customer_account: null,
    customer_creation: customerCreation(input),
    customer_details: input.customer_email ? payerDetails({ email: input.customer_email }) : null,
    customer_email: input.customer_email ?? null,
    discounts: [],
    expires_at: input.expires_at ?? created + DAY_SECONDS,
    integration_identifier: input.integration_identifier ?? null,
    invoice: null,
    invoice_creation: input.mode === 'payment' ? invoiceCreation(input) : null,
    livemode: account.livemode,
    locale: input.locale ?? null,
    managed_payments: null,
    metadata: changeMetadata({}, input.metadata),
    mode: input.mode,
    origin_context: input.origin_context ?? null,
    payment_intent: null, // made by the first attempt to pay, since API version 2022-08-01
    payment_link: null,
    payment_method_collection: input.payment_method_collection ?? 'if_required',
    payment_method_configuration_details: null,
    payment_method_options: { card: { request_three_d_secure: 'automatic' } },
    payment_method_types: input.allowed_payment_method_types ?? methodTypes(currency),
    payment_status: input.mode === 'setup' || total === 0 ? 'no_payment_required' : 'unpaid',
    permissions: null,
    phone_number_collection: { enabled: input.phone_number_collection?.enabled ?? false },
    recovered_from: null,
    saved_payment_method_options: null,
    setup_intent: null,
    shipping_address_collection: null,
    shipping_cost: null,
    shipping_options: [],
    status: 'open',
    submit_type: input.submit_type ?? null,
    subscription: null,
    success_url: input.success_url,
    ...(input.tax_id_collection === undefined ? {} : { tax_id_collection: taxIds(input) }),
    total_details:
      total === null ? null : { amount_discount: 0, amount_shipping: 0, amount_tax: 0 },
    ui_mode: 'hosted_page',
    url: `${world.url()}/c/pay/${id}`,
    wallet_options: null,
  }
}

export function payerDetails(payer: {
  email: string | null
  name?: string | null
}): Stripe.Checkout.Session.CustomerDetails {
  return {
    address: null,
    business_name: null,
    email: payer.email,
    individual_name: null,
    name: payer.name ?? null,
    phone: null,
    tax_exempt: 'none',
    tax_ids: [],
  }
}

function totals(input: SessionCreateInput, lines: readonly WireLineItem[]): Totals {
  if (input.mode === 'setup') return { currency: input.currency ?? null, total: null }
  const currency = lines[0]?.currency ?? null
  return { currency, total: lines.reduce((sum, line) => sum + line.amount_total, 0) }
}

function customerCreation({
  mode,
  customer,
  customer_creation,
  invoice_creation,
}: SessionCreateInput) {
  if (mode !== 'payment' || customer !== undefined) return null
  return customer_creation ?? (invoice_creation?.enabled ? 'always' : 'if_required')
}

function invoiceCreation(input: SessionCreateInput): Stripe.Checkout.Session.InvoiceCreation {
  const data = input.invoice_creation?.invoice_data
  return {
    enabled: input.invoice_creation?.enabled ?? false,
    invoice_data: {
      account_tax_ids: null,
      custom_fields: data?.custom_fields ?? null,
      description: data?.description ?? null,
      footer: data?.footer ?? null,
      issuer: null,
      metadata: changeMetadata({}, data?.metadata),
      rendering_options: null,
    },
  }
}

function taxIds({ tax_id_collection: wanted }: SessionCreateInput) {
  return { enabled: wanted?.enabled ?? false, required: wanted?.required ?? 'never' }
}

function methodTypes(currency: string | null): string[] {
  if (currency === 'eur') return ['card', 'sepa_debit', 'customer_balance']
  return currency === 'usd' ? ['card', 'us_bank_account', 'customer_balance'] : ['card']
}

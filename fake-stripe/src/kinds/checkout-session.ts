import type Stripe from 'stripe'
import { changeMetadata } from '../api/common-params.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import type { Cancel } from '../core/clock.ts'
import { InvalidState, invalidParameter, noSuch } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import type {
  LineItemInput,
  PaymentIntentDataInput,
  SessionCreateInput,
  SetupIntentDataInput,
} from './checkout-session-params.ts'
import { cancelIntent } from './payment-intent.ts'
import { buildPrice, prices, unitAmounts, type WirePrice } from './price.ts'
import { products } from './product.ts'

export const checkoutSessions = defineTable<Stripe.Checkout.Session>('checkout.session')

/** Settings of a session that are used when the payer acts. */
export type SessionSettings = {
  id: string
  paymentIntent: PaymentIntentDataInput
  setupIntent: SetupIntentDataInput
  /** Cancels the scheduled expiry. */
  cancelExpiry: Cancel
}

export const sessionSettings = defineTable<SessionSettings>('checkout.session.plan', {
  hidden: true,
})

export const DAY_SECONDS = 24 * 60 * 60

type Totals = { currency: string | null; total: number | null }

/** Builds an open session, without checks, intent and expiry. */
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
    payment_intent: null, // since API version 2022-08-01 the first payment attempt creates it
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

/**
 * Expires an open session, by the clock or on request, and cancels the intent that a declined card
 * has left.
 *
 * @throws InvalidState when the session is not open.
 */
export function expireSession(scope: Scope, id: string): Stripe.Checkout.Session {
  const session = requireRow(scope, checkoutSessions, id)
  if (session.status !== 'open') throw new InvalidState(`Session ${id} is ${session.status}`)
  scope.account.rows(sessionSettings).get(id)?.cancelExpiry()
  const intent = idOf(session.payment_intent)
  if (intent !== null) cancelIntent(scope, intent, 'expired')
  const expired = changeRow(scope, checkoutSessions, id, { status: 'expired', url: null })
  emitEvent(scope, 'checkout.session.expired', expired)
  return expired
}

export type WireLineItem = Omit<Stripe.LineItem, 'price'> & { price: WirePrice | null }

/** The line items of a session, under the session's id. */
export const sessionLines = defineTable<{ id: string; items: WireLineItem[] }>(
  'checkout.session.lines',
  { hidden: true },
)

/**
 * Builds one line of a session with its totals.
 *
 * @throws StripeError when the line has no price, two prices, or a price of another account.
 */
export function buildLineItem(scope: Scope, input: LineItemInput, index: number): WireLineItem {
  const param = `line_items[${index}]`
  const { quantity } = input
  if (quantity === undefined)
    throw invalidParameter(
      `${param}[quantity]`,
      `Missing required param: ${param}[quantity].`,
      'parameter_missing',
    )
  const price = linePrice(scope, input, param)
  const total = lineTotal(price, quantity)
  return {
    id: fakeId('li_1'),
    object: 'item',
    adjustable_quantity: adjustable(input),
    amount_discount: 0,
    amount_subtotal: total,
    amount_tax: 0,
    amount_total: total,
    currency: price.currency,
    description: input.price_data?.product_data?.name ?? productName(scope, price),
    metadata: input.metadata ? changeMetadata({}, input.metadata) : null,
    price,
    quantity,
  }
}

/**
 * The product's name is shown to the buyer; the nickname is for prices without a product in this
 * account.
 */
function productName({ account }: Scope, price: WirePrice): string | null {
  return account.rows(products).get(price.product)?.name ?? price.nickname
}

function adjustable({ adjustable_quantity: wanted }: LineItemInput) {
  if (!wanted?.enabled) return null
  return { enabled: true, maximum: wanted.maximum ?? 99, minimum: wanted.minimum ?? 0 }
}

function lineTotal(price: WirePrice, quantity: number): number {
  if (price.unit_amount !== null) return price.unit_amount * quantity
  return Math.round(Number(price.unit_amount_decimal) * quantity)
}

function linePrice(scope: Scope, input: LineItemInput, param: string): WirePrice {
  const { price, price_data: data } = input
  if (price !== undefined && data !== undefined)
    throw invalidParameter(
      `${param}[price]`,
      'You may only specify one of these parameters: price, price_data.',
      'parameters_exclusive',
    )
  if (data !== undefined) return inlinePrice(scope, data, param)
  if (price === undefined)
    throw invalidParameter(
      param,
      `You must specify either \`price\` or \`price_data\` for ${param}.`,
      'parameter_missing',
    )
  return existingPrice(scope, price, `${param}[price]`)
}

function existingPrice({ account }: Scope, id: string, param: string): WirePrice {
  const price = account.rows(prices).get(id)
  if (price === undefined) throw noSuch('price', id, param)
  // A price that a test has stored can lack both fields.
  if (price.active === false)
    throw invalidParameter(
      param,
      'The price specified is inactive. This field only accepts active prices.',
    )
  if (price.type === 'recurring')
    throw invalidParameter(
      param,
      'You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.',
    )
  return price
}

/** Stripe creates an inactive price, which no other request can use. */
function inlinePrice(
  scope: Scope,
  data: NonNullable<LineItemInput['price_data']>,
  param: string,
): WirePrice {
  const { unit_amount: whole, unit_amount_decimal: fraction, product_data: product } = data
  requireOne(`${param}[price_data]`, { unit_amount: whole, unit_amount_decimal: fraction })
  requireOne(`${param}[price_data]`, { product: data.product, product_data: product })
  return buildPrice(scope, {
    active: false,
    currency: data.currency,
    product: data.product ?? fakeId('prod_', 14),
    tax_behavior: data.tax_behavior ?? 'unspecified',
    ...unitAmounts(whole, fraction),
  })
}

function requireOne(param: string, choices: Record<string, unknown>): void {
  const given = Object.values(choices).filter((value) => value !== undefined)
  if (given.length === 1) return
  const names = Object.keys(choices)
  const code = given.length === 0 ? 'parameter_missing' : 'parameters_exclusive'
  throw invalidParameter(
    `${param}[${names[0]}]`,
    `You must specify exactly one of these parameters: ${names.join(', ')}.`,
    code,
  )
}

import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { invalidParameter, noSuch } from '../core/stripe-error.ts'
import { defineTable } from '../core/table.ts'
import type { LineItemInput } from '../resources/checkout-session-params.ts'

/** Decimals are text on the wire; the SDK makes `Decimal`s of them. */
export type WirePrice = Omit<Stripe.Price, 'unit_amount_decimal'> & {
  unit_amount_decimal: string | null
}
export type WireLineItem = Omit<Stripe.LineItem, 'price'> & { price: WirePrice | null }

/** The line items of a session, under the session's id. */
export const sessionLines = defineTable<{ id: string; items: WireLineItem[] }>(
  'checkout.session.lines',
  { hidden: true },
)

/**
 * One line of a session with its totals.
 *
 * @throws StripeError when the line names no price, two, or one of another account.
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
    description: input.price_data?.product_data?.name ?? price.nickname,
    metadata: input.metadata ? changeMetadata({}, input.metadata) : null,
    price,
    quantity,
  }
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
  const row = scope.account.find(price)
  if (row === undefined || !isPrice(row)) throw noSuch('price', price, `${param}[price]`)
  return row
}

function isPrice(row: object): row is WirePrice {
  return 'object' in row && row.object === 'price'
}

function inlinePrice(
  { account, world }: Scope,
  data: NonNullable<LineItemInput['price_data']>,
  param: string,
): WirePrice {
  const { unit_amount: whole, unit_amount_decimal: fraction, product_data: product } = data
  requireOne(`${param}[price_data]`, { unit_amount: whole, unit_amount_decimal: fraction })
  requireOne(`${param}[price_data]`, { product: data.product, product_data: product })
  return {
    id: fakeId('price_1'),
    object: 'price',
    active: false, // Stripe makes a one-off price that nobody else can use
    billing_scheme: 'per_unit',
    created: world.clock.seconds(),
    currency: data.currency,
    custom_unit_amount: null,
    livemode: account.livemode,
    lookup_key: null,
    metadata: {},
    nickname: null,
    product: data.product ?? fakeId('prod_', 14),
    recurring: null,
    tax_behavior: data.tax_behavior ?? 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: 'one_time',
    unit_amount: whole ?? (Number.isInteger(Number(fraction)) ? Number(fraction) : null),
    unit_amount_decimal: fraction ?? String(whole),
  }
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

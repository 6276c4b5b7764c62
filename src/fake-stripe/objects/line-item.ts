import type Stripe from 'stripe'
import { changeMetadata } from '../api/metadata.ts'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { invalidParameter, noSuch } from '../core/stripe-error.ts'
import { defineTable } from '../core/table.ts'
import type { LineItemInput } from '../resources/checkout-session-params.ts'
import { buildPrice, prices, unitAmounts, type WirePrice } from './price.ts'
import { products } from './product.ts'

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
    description: input.price_data?.product_data?.name ?? productName(scope, price),
    metadata: input.metadata ? changeMetadata({}, input.metadata) : null,
    price,
    quantity,
  }
}

/** The buyer reads the product's name; the nickname is for prices without one in this account. */
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
  // A price that a test has put there may lack both fields.
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

/** Stripe makes a one-off price of it, inactive, so that nobody else can use it. */
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

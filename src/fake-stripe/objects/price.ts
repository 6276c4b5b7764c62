import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

/** Decimals are text on the wire; the SDK makes `Decimal`s of them. */
export type WirePrice = Omit<Stripe.Price, 'product' | 'unit_amount_decimal'> & {
  product: string
  unit_amount_decimal: string | null
}

/** Prices and, being the same thing under an older name, plans. */
export const prices = defineTable<WirePrice>('price')

export type PriceFields = Pick<WirePrice, 'currency' | 'product'> & Partial<WirePrice>

/** A price that is not stored yet; its type follows from `recurring`. */
export function buildPrice({ account, world }: Scope, fields: PriceFields): WirePrice {
  return {
    id: fakeId('price_1'),
    object: 'price',
    active: true,
    billing_scheme: 'per_unit',
    created: world.clock.seconds(),
    custom_unit_amount: null,
    livemode: account.livemode,
    lookup_key: null,
    metadata: {},
    nickname: null,
    recurring: null,
    tax_behavior: 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: fields.recurring ? 'recurring' : 'one_time',
    unit_amount: null,
    unit_amount_decimal: null,
    ...fields,
  }
}

/**
 * The two ways in which a price says its amount.
 *
 * @param whole smallest unit; wins over `fraction`.
 * @param fraction the same as a decimal, such as `0.5`; a whole one fills both fields.
 */
export function unitAmounts(whole: number | undefined, fraction: string | undefined) {
  const value = whole ?? Number(fraction)
  return {
    unit_amount: Number.isInteger(value) ? value : null,
    unit_amount_decimal: Number.isInteger(value) ? String(value) : (fraction ?? null),
  }
}

import type Stripe from 'stripe'
import { changeMetadata, type MetadataChange } from '../api/metadata.ts'
import { givenFields } from '../core/given-fields.ts'
import type { Scope } from '../core/scope.ts'
import { alreadyExists, invalidParameter } from '../core/stripe-error.ts'
import { buildPrice, prices, unitAmounts, type WirePrice } from '../objects/price.ts'

type RecurringInput = {
  interval: 'day' | 'week' | 'month' | 'year'
  interval_count?: number | undefined
  trial_period_days?: number | undefined
  usage_type?: 'licensed' | 'metered' | undefined
}

/** What prices, plans and default prices of products have in common. */
export type PriceInput = {
  product: string
  currency: string
  id?: string | undefined
  active?: boolean | undefined
  lookup_key?: string | undefined
  metadata?: MetadataChange | null | undefined
  nickname?: string | undefined
  recurring?: RecurringInput | undefined
  tax_behavior?: Stripe.Price.TaxBehavior | undefined
  transform_quantity?: { divide_by: number; round: 'down' | 'up' } | undefined
  unit_amount?: number | undefined
  unit_amount_decimal?: string | undefined
}

// Three years, counted in each of the intervals.
const LONGEST = { day: 1095, week: 156, month: 36, year: 3 }

/**
 * What Stripe refuses about a price, before anything is made for it.
 *
 * @param group the parameter that holds the price's own, such as `default_price_data`; empty when
 *   they are at the top.
 * @throws StripeError for an amount, interval or id that cannot be.
 */
export function checkPrice({ account }: Scope, input: Omit<PriceInput, 'product'>, group = '') {
  const { id, recurring, unit_amount: whole, unit_amount_decimal: fraction } = input
  const nameOf = (param: string) => (group === '' ? param : `${group}[${param}]`)
  checkAmounts(whole, fraction, nameOf)
  if (recurring !== undefined) checkRecurring(recurring, nameOf('recurring'))
  // Only plans have ids of the caller's choice.
  if (id !== undefined && account.rows(prices).get(id) !== undefined) throw alreadyExists('Plan')
}

/** A new price of an existing product, checked by `checkPrice`; without an event. */
export function insertPrice(scope: Scope, input: PriceInput): WirePrice {
  const { unit_amount: whole, unit_amount_decimal: fraction, metadata, recurring, ...rest } = input
  const price = buildPrice(scope, {
    ...givenFields({ ...rest, recurring: recurring && fullRecurring(recurring) }),
    currency: input.currency,
    product: input.product,
    metadata: changeMetadata({}, metadata),
    ...unitAmounts(whole, fraction),
  })
  return scope.account.rows(prices).insert(price)
}

function checkAmounts(
  whole: number | undefined,
  fraction: string | undefined,
  nameOf: (param: string) => string,
): void {
  if (whole === undefined && fraction === undefined)
    throw invalidParameter(
      nameOf('unit_amount'),
      'Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.',
    )
  if (whole !== undefined && fraction !== undefined)
    throw invalidParameter(
      nameOf('unit_amount'),
      'You may only specify one of these parameters: unit_amount, unit_amount_decimal.',
      'parameters_exclusive',
    )
}

function checkRecurring(recurring: RecurringInput, param: string): void {
  const { interval, interval_count: count = 1, usage_type: usage } = recurring
  if (count > LONGEST[interval])
    throw invalidParameter(
      `${param}[interval_count]`,
      'You cannot specify an interval longer than three years (3 years, 36 months, or 156 weeks).',
    )
  if (usage === 'metered')
    throw invalidParameter(
      `${param}[usage_type]`,
      'Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters.',
    )
}

function fullRecurring(input: RecurringInput): Stripe.Price.Recurring {
  return {
    interval: input.interval,
    interval_count: input.interval_count ?? 1,
    meter: null,
    trial_period_days: input.trial_period_days ?? null,
    usage_type: input.usage_type ?? 'licensed',
  }
}

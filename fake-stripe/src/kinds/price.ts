import type Stripe from 'stripe'
import { changeMetadata, type MetadataChange } from '../api/common-params.ts'
import { emitEvent, givenFields } from '../core/changes.ts'
import { alreadyExists, invalidParameter } from '../core/errors.ts'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

/** Decimals are text in JSON; the SDK turns them into `Decimal`s. */
export type WirePrice = Omit<Stripe.Price, 'product' | 'unit_amount_decimal'> & {
  product: string
  unit_amount_decimal: string | null
}

/** Prices. Recurring prices are also plans, their older name. */
export const prices = defineTable<WirePrice>('price')

export type PriceFields = Pick<WirePrice, 'currency' | 'product'> & Partial<WirePrice>

/** Builds a price; `recurring` decides its type. */
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
 * The two fields for the amount of a price.
 *
 * @param whole smallest unit; takes precedence over `fraction`.
 * @param fraction a decimal such as `0.5`; an integer sets both fields.
 */
export function unitAmounts(whole: number | undefined, fraction: string | undefined) {
  const value = whole ?? Number(fraction)
  return {
    unit_amount: Number.isInteger(value) ? value : null,
    unit_amount_decimal: Number.isInteger(value) ? String(value) : (fraction ?? null),
  }
}

/** Decimals are text in JSON; the SDK turns them into `Decimal`s. */
export type WirePlan = Omit<Stripe.Plan, 'amount_decimal'> & { amount_decimal: string | null }

/**
 * A recurring price in the form of the older Plans API.
 *
 * @throws Error when the price is not recurring.
 * @see https://docs.stripe.com/api/plans
 */
export function planOf(price: WirePrice): WirePlan {
  const { recurring } = price
  if (!recurring) throw new Error(`${price.id} is no plan`)
  return {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: price.billing_scheme,
    created: price.created,
    currency: price.currency,
    interval: recurring.interval,
    interval_count: recurring.interval_count,
    livemode: price.livemode,
    metadata: price.metadata,
    meter: recurring.meter,
    nickname: price.nickname,
    product: price.product,
    tiers_mode: price.tiers_mode,
    transform_usage: price.transform_quantity,
    trial_period_days: recurring.trial_period_days,
    usage_type: recurring.usage_type,
  }
}

type RecurringInput = {
  interval: 'day' | 'week' | 'month' | 'year'
  interval_count?: number | undefined
  trial_period_days?: number | undefined
  usage_type?: 'licensed' | 'metered' | undefined
}

/** The parameters that prices, plans and default prices of products share. */
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

// Three years in each of the intervals.
const MAX_INTERVAL_COUNT = { day: 1095, week: 156, month: 36, year: 3 }

/**
 * Checks a price before anything is created.
 *
 * @param group the parameter that contains the price's parameters, such as `default_price_data`;
 *   empty when they are at the top level.
 * @throws StripeError for an invalid amount, interval or id.
 */
export function checkPrice({ account }: Scope, input: Omit<PriceInput, 'product'>, group = '') {
  const { id, recurring, unit_amount: whole, unit_amount_decimal: fraction } = input
  const nameOf = (param: string) => (group === '' ? param : `${group}[${param}]`)
  checkAmounts(whole, fraction, nameOf)
  if (recurring !== undefined) checkRecurring(recurring, nameOf('recurring'))
  // Only for plans the caller can choose the id.
  if (id !== undefined && account.rows(prices).get(id) !== undefined) throw alreadyExists('Plan')
}

/** Stores a new price of an existing product, without an event; `checkPrice` has checked it. */
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
  if (count > MAX_INTERVAL_COUNT[interval])
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

/**
 * Reserves a lookup key for a price. Only one price can have it, active or not.
 *
 * @param owner the id of the price; undefined for a price that does not exist yet.
 * @param transfer takes the key from another price, which gets a `price.updated` event.
 * @throws StripeError when another price has the key and `transfer` is not set.
 */
export function claimLookupKey(
  scope: Scope,
  key: string,
  owner: string | undefined,
  transfer: boolean,
): void {
  const rows = scope.account.rows(prices)
  const [holder] = rows.page({ limit: 1, where: (price) => price.lookup_key === key })?.data ?? []
  if (holder === undefined || holder.id === owner) return
  if (!transfer)
    throw invalidParameter('lookup_key', `A price (\`${holder.id}\`) already uses that lookup key.`)
  emitPriceEvent(scope, 'updated', rows.replace({ ...holder, lookup_key: null }), holder)
}

/** Stripe sends two events for a recurring price: one for the price and one for the plan. */
export function emitPriceEvent(
  scope: Scope,
  what: 'created' | 'updated' | 'deleted',
  price: WirePrice,
  before?: WirePrice,
): void {
  if (price.recurring) emitEvent(scope, `plan.${what}`, planOf(price), before && planOf(before))
  emitEvent(scope, `price.${what}`, price, before)
}

/** Refuses tiered prices: they need tiers, which the fake does not implement. */
export function requireTiers(scheme: 'per_unit' | 'tiered' | undefined): void {
  if (scheme === 'tiered')
    throw invalidParameter('tiers', 'Missing required param: tiers.', 'parameter_missing')
}

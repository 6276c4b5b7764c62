import type Stripe from 'stripe'
import { changeMetadata, type MetadataChange } from '../api/common-params.ts'
import { embeddedList } from '../api/operations.ts'
import { changeRow } from '../core/changes.ts'
import { type Cancel, nextPeriodEnd, periodEnd } from '../core/clock.ts'
import { invalidParameter, noSuch } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import { NO_REQUEST, type Scope } from '../core/scope.ts'
import { applyDiscounts, type DiscountInput } from './discount.ts'
import { insertPrice, planOf, prices, type WirePlan, type WirePrice } from './price.ts'
import { products } from './product.ts'
import { runAt } from './test-clock.ts'

/** Decimals are text in JSON; the SDK turns them into `Decimal`s. */
export type WireSubscriptionItem = Omit<Stripe.SubscriptionItem, 'plan' | 'price'> & {
  plan: WirePlan
  price: WirePrice
}
export type WireSubscription = Omit<Stripe.Subscription, 'items'> & {
  items: Stripe.ApiList<WireSubscriptionItem>
}

export const subscriptions = defineTable<WireSubscription>('subscription')
export const subscriptionItems = defineTable<WireSubscriptionItem>('subscription_item', {
  label: 'subscription item',
})

/** All items of a subscription, in the order of its list. */
export function itemsOf({ account }: Scope, subscription: string): WireSubscriptionItem[] {
  return account.rows(subscriptionItems).all((item) => item.subscription === subscription)
}

/** Changes a subscription and updates its embedded items. */
export function changeSubscription(
  scope: Scope,
  id: string,
  patch: Partial<WireSubscription>,
): WireSubscription {
  const items = embeddedList(itemsOf(scope, id), itemsUrl(id))
  return changeRow(scope, subscriptions, id, { ...patch, items })
}

export function itemsUrl(subscription: string): string {
  return `/v1/subscription_items?subscription=${subscription}`
}

/** The fake's own data about a subscription. */
export type SubscriptionTimer = {
  id: string
  /** Performs what is due. */
  onDue: (scope: Scope) => void
  /** Cancels the scheduled task. */
  cancel: Cancel
  /** Whether `trial_will_end` was sent. */
  warned: boolean
  /** Suppresses events while the subscription is being created. */
  quiet: boolean
}

export const subscriptionTimers = defineTable<SubscriptionTimer>('subscription.plan', {
  hidden: true,
})

const DAY = 24 * 60 * 60
export const PAYMENT_WINDOW = 23 * 60 * 60
export const TRIAL_WARNING = 3 * DAY

/** Schedules the next task of a subscription. */
export function reschedule(scope: Scope, id: string): void {
  const plan = scope.account.rows(subscriptionTimers).get(id)
  const subscription = scope.account.rows(subscriptions).get(id)
  if (plan === undefined || subscription === undefined) return
  plan.cancel()
  const due = nextDueTime(scope, subscription, plan.warned)
  const cancel =
    due === null
      ? () => {}
      : runAt(scope, idOf(subscription.test_clock), due, () =>
          plan.onDue({ ...scope, cause: NO_REQUEST }),
        )
  scope.account.rows(subscriptionTimers).replace({ ...plan, cancel })
}

/** Seconds since 1970; null when nothing is scheduled. */
function nextDueTime(scope: Scope, subscription: WireSubscription, warned: boolean): number | null {
  const { status, created, cancel_at: cancelAt, trial_end: trialEnd } = subscription
  if (status === 'incomplete') return created + PAYMENT_WINDOW
  if (!['active', 'past_due', 'trialing'].includes(status)) return null
  const moments = itemsOf(scope, subscription.id).map((item) => item.current_period_end)
  if (cancelAt !== null) moments.push(cancelAt)
  if (status === 'trialing' && !warned && trialEnd !== null) moments.push(trialEnd - TRIAL_WARNING)
  return moments.length === 0 ? null : Math.min(...moments)
}

export type PriceDataInput = {
  currency: string
  product: string
  recurring: { interval: 'day' | 'week' | 'month' | 'year'; interval_count?: number | undefined }
  unit_amount?: number | undefined
  unit_amount_decimal?: string | undefined
}

export type ItemInput = {
  discounts?: DiscountInput[] | null | undefined
  metadata?: MetadataChange | null | undefined
  plan?: string | undefined
  price?: string | undefined
  price_data?: PriceDataInput | undefined
  quantity?: number | undefined
}

export type ItemChange = ItemInput & { id?: string | undefined; deleted?: boolean | undefined }

/** Only a recurring price can be subscribed to. */
export type RecurringPrice = WirePrice & { recurring: Stripe.Price.Recurring }

function isRecurring(price: WirePrice): price is RecurringPrice {
  return price.recurring !== null
}

const MAX_ITEMS = 20

/**
 * The recurring price of an item, by id or by `price_data`. @throws StripeError for an invalid one.
 */
export function itemPrice(scope: Scope, input: ItemInput, param: string): RecurringPrice {
  const { plan, price: priceId, price_data: data } = input
  const id = priceId ?? plan
  if (data !== undefined) return pricedByData(scope, data, param)
  if (id === undefined)
    throw invalidParameter(
      `${param}[price]`,
      `Missing required param: ${param}[price].`,
      'parameter_missing',
    )
  const price = scope.account.rows(prices).get(id)
  if (price === undefined) throw noSuch('price', id, `${param}[price]`)
  if (price.active === false)
    throw invalidParameter(
      `${param}[price]`,
      'The price specified is inactive. This field only accepts active prices.',
    )
  if (isRecurring(price)) return price
  throw invalidParameter(
    `${param}[price]`,
    'The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.',
  )
}

/** @throws StripeError unless one subscription can have all these prices. */
export function checkPrices(found: readonly RecurringPrice[], param = 'items'): void {
  if (found.length > MAX_ITEMS)
    throw invalidParameter(param, `A subscription can have at most ${MAX_ITEMS} items.`)
  const [first] = found
  found.forEach((price, index) => {
    if (price.currency !== first?.currency)
      throw invalidParameter(
        `${param}[${index}][price]`,
        `The price specified only supports \`${price.currency}\`. This doesn't match the expected currency: \`${first?.currency}\`.`,
      )
    if (found.findIndex((other) => other.id === price.id) < index)
      throw invalidParameter(
        param,
        `Cannot add multiple subscription items with the same plan: ${price.id}`,
      )
  })
}

/** Stores a new item. Its first period starts now; in a trial it lasts until the trial ends. */
export function insertItem(
  scope: Scope,
  subscription: Pick<WireSubscription, 'id' | 'billing_cycle_anchor' | 'customer'>,
  input: Omit<ItemInput, 'price'> & { price: RecurringPrice },
  now: number,
): WireSubscriptionItem {
  const { id: subscriptionId, billing_cycle_anchor: anchor } = subscription
  const { price } = input
  const end = anchor > now ? anchor : nextPeriodEnd(anchor, price.recurring, now)
  const id = fakeId('si_', 14)
  const target = { subscription: subscriptionId, subscription_item: id }
  return scope.account.rows(subscriptionItems).insert({
    id,
    object: 'subscription_item',
    billing_thresholds: null,
    created: now,
    current_period_end: end,
    current_period_start: now,
    current_trial: null,
    discounts: applyDiscounts(scope, input.discounts ?? [], target, now),
    metadata: changeMetadata({}, input.metadata),
    plan: planOf(price),
    price,
    quantity: input.quantity ?? 1,
    subscription: subscriptionId,
    tax_rates: [],
  })
}

/**
 * Adds, changes and deletes items, all or none. Prorations are not computed: the next invoice shows
 * the change.
 *
 * @throws StripeError for an unknown item or price, or when no item would be left.
 */
export function changeItems(
  scope: Scope,
  subscription: WireSubscription,
  changes: readonly ItemChange[],
  now: number,
): void {
  const current = itemsOf(scope, subscription.id)
  const planned = changes.map((change, index) =>
    resolveItemChange(scope, current, change, `items[${index}]`),
  )
  const left = current.filter((item) => planned.every((step) => step.item?.id !== item.id))
  const kept = planned.flatMap(({ change, price }) => (change.deleted ? [] : [price]))
  checkPrices([...left.map((item) => item.price).filter(isRecurring), ...kept])
  if (left.length + kept.length === 0)
    throw invalidParameter('items', 'A subscription must have at least one active plan.')
  for (const { change, item, price } of planned) {
    if (item === undefined) insertItem(scope, subscription, { ...change, price }, now)
    else if (change.deleted) scope.account.rows(subscriptionItems).remove(item.id)
    else
      changeRow(scope, subscriptionItems, item.id, {
        metadata: changeMetadata(item.metadata, change.metadata),
        plan: planOf(price),
        price,
        quantity: change.quantity ?? item.quantity ?? 1,
      })
  }
}

function resolveItemChange(
  scope: Scope,
  current: readonly WireSubscriptionItem[],
  change: ItemChange,
  param: string,
) {
  const item = current.find(({ id }) => id === change.id)
  if (change.id !== undefined && item === undefined)
    throw noSuch('subscription item', change.id, `${param}[id]`)
  const named = change.price ?? change.plan ?? change.price_data
  const own = item?.price
  const price =
    named === undefined && own !== undefined && isRecurring(own)
      ? own
      : itemPrice(scope, change, param)
  return { change, item, price }
}

/** Stripe creates an inactive price, which no other request can use. */
function pricedByData(scope: Scope, data: PriceDataInput, param: string): RecurringPrice {
  if (scope.account.rows(products).get(data.product) === undefined)
    throw noSuch('product', data.product, `${param}[price_data][product]`)
  const price = insertPrice(scope, { ...data, active: false })
  if (isRecurring(price)) return price
  throw new Error(`${price.id} was made with an interval`)
}

/** Starts a new period of all items now; later periods are counted from here. */
export function restartPeriods(scope: Scope, id: string, now: number) {
  for (const item of itemsOf(scope, id)) {
    const interval = item.price.recurring ?? { interval: 'month', interval_count: 1 }
    changeRow(scope, subscriptionItems, item.id, {
      current_period_start: now,
      current_period_end: periodEnd(now, interval),
    })
  }
  return changeSubscription(scope, id, { billing_cycle_anchor: now })
}

import type Stripe from 'stripe'
import type { z } from 'zod'
import {
  type Call,
  createdWithin,
  existing,
  type FiltersOf,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import {
  choice,
  flag,
  group,
  ignored,
  type ShapeOf,
  text,
  timeRange,
  unsupported,
} from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { emitEvent, givenFields } from '../core/changes.ts'
import { noSuch, refused } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { pauseSubscription, resumeSubscription, updateSubscription } from './change-subscription.ts'
import { createSubscription } from './create-subscription.ts'
import { discounts } from './discount.ts'
import {
  changeItems,
  changeSubscription,
  type ItemChange,
  itemsOf,
  subscriptionItems,
  subscriptions,
  type WireSubscription,
  type WireSubscriptionItem,
} from './subscription.ts'
import { cancelSubscription, ENDED } from './subscription-billing.ts'
import {
  cancellationDetails,
  changeShape,
  itemShape,
  subscriptionCreateParams,
  subscriptionUpdateParams,
} from './subscription-params.ts'
import { nowBy } from './test-clock.ts'

const PATH = '/v1/subscriptions'
const kind = subscriptions.name

const cancelParams = group({
  cancellation_details: cancellationDetails.optional(),
  invoice_now: flag().optional(),
  prorate: flag().optional(),
} satisfies ShapeOf<Stripe.SubscriptionCancelParams>)

const pauseParams = group({
  bill_for: ignored(),
  invoicing_behavior: ignored(),
  type: choice('type', ['subscription']).optional(),
} satisfies ShapeOf<Stripe.SubscriptionPauseParams>)

const resumeParams = group({
  billing_cycle_anchor: ignored(),
  payment_behavior: ignored(),
  proration_behavior: ignored(),
  proration_date: ignored(),
} satisfies ShapeOf<Stripe.SubscriptionResumeParams>)

const filters = {
  automatic_tax: group({ enabled: flag() }).optional(),
  collection_method: choice('collection_method', [
    'charge_automatically',
    'send_invoice',
  ]).optional(),
  created: timeRange().optional(),
  current_period_end: timeRange().optional(),
  current_period_start: timeRange().optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
  plan: text().optional(),
  price: text().optional(),
  status: choice('status', [
    'active',
    'all',
    'canceled',
    'ended',
    'incomplete',
    'incomplete_expired',
    'past_due',
    'paused',
    'trialing',
    'unpaid',
  ]).optional(),
  test_clock: text().optional(),
} satisfies FiltersOf<Stripe.SubscriptionListParams>

type Filters = z.output<z.ZodObject<typeof filters>>

/** @see https://docs.stripe.com/api/subscriptions */
export const subscriptionResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    default_payment_method: { kind: 'payment_method' },
    default_source: { kind: 'card' },
    discounts: { kind: 'discount' },
    items: { kind: 'subscription_item', list: true, inline: true },
    latest_invoice: { kind: 'invoice' },
    test_clock: { kind: 'test_helpers.test_clock' },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: subscriptionCreateParams,
      run: createSubscription,
    }),
    retrieveOperation(`${PATH}/:id`, subscriptions),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: subscriptionUpdateParams,
      run: (call, params, { id = '' }) => updateSubscription(call, id, params),
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: cancelParams,
      run(call, { cancellation_details: details }, { id = '' }) {
        const { status } = existing(call, subscriptions, id, 'id', 404)
        if (ENDED.includes(status)) throw noSuch('subscription', id, 'id', 404)
        return cancelSubscription(call, id, givenFields(details ?? {}))
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/pause`,
      returns: kind,
      params: pauseParams,
      run(call, _params, { id = '' }) {
        existing(call, subscriptions, id, 'id', 404)
        return pauseSubscription(call, id)
      },
    }),
    operation({
      method: 'POST',
      path: `${PATH}/:id/resume`,
      returns: kind,
      params: resumeParams,
      run(call, _params, { id = '' }) {
        existing(call, subscriptions, id, 'id', 404)
        return resumeSubscription(call, id)
      },
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id/discount`,
      returns: 'discount',
      params: group({}),
      run: (call, _params, { id = '' }) => removeDiscounts(call, id),
    }),
    searchOperation({
      path: `${PATH}/search`,
      table: subscriptions,
      fields: { canceled_at: 'numeric', created: 'numeric', status: 'token' },
    }),
    listOperation({
      path: PATH,
      table: subscriptions,
      filters,
      where: (params, call) => (row) =>
        matchesStatus(row, params) && matchesTime(call, row, params) && matches(call, row, params),
    }),
  ],
}

/** @returns the last discount, as deleted. */
function removeDiscounts(call: Call, id: string) {
  const before = existing(call, subscriptions, id, 'id', 404)
  const removed = before.discounts.flatMap((discount) => {
    const row = call.account.rows(discounts).get(idOf(discount) ?? '')
    return row === undefined ? [] : row
  })
  const last = removed.at(-1)
  if (last === undefined) throw noSuch('discount', id, 'id', 404)
  const after = changeSubscription(call, id, { discounts: [] })
  for (const discount of removed) emitEvent(call, 'customer.discount.deleted', discount)
  emitEvent(call, 'customer.subscription.updated', after, before)
  const { end: _end, ...deleted } = last
  return { ...deleted, deleted: true }
}

/** Without a status the list has all but the canceled subscriptions. */
function matchesStatus(row: WireSubscription, { status }: Filters): boolean {
  if (status === undefined) return row.status !== 'canceled'
  if (status === 'ended') return ENDED.includes(row.status)
  return status === 'all' || status === row.status
}

function matchesTime(call: Call, row: WireSubscription, params: Filters): boolean {
  const { created, current_period_end: end, current_period_start: start } = params
  const items = end === undefined && start === undefined ? [] : itemsOf(call, row.id)
  const startsWithin = createdWithin(start)
  const endsWithin = createdWithin(end)
  return (
    createdWithin(created)(row) &&
    (start === undefined ||
      items.some((item) => startsWithin({ created: item.current_period_start }))) &&
    (end === undefined || items.some((item) => endsWithin({ created: item.current_period_end })))
  )
}

function matches(call: Call, row: WireSubscription, params: Filters): boolean {
  const { automatic_tax: tax, collection_method: collection, customer, test_clock: clock } = params
  const price = params.price ?? params.plan
  // Subscriptions of a test clock appear only in lists of that clock or of their customer.
  const timed = clock ?? (customer === undefined ? null : idOf(row.test_clock))
  return (
    idOf(row.test_clock) === timed &&
    (customer ?? idOf(row.customer)) === idOf(row.customer) &&
    (collection ?? row.collection_method) === row.collection_method &&
    (tax?.enabled ?? row.automatic_tax.enabled) === row.automatic_tax.enabled &&
    (price === undefined || itemsOf(call, row.id).some((item) => item.price.id === price))
  )
}

const ITEMS_PATH = '/v1/subscription_items'
const itemKind = subscriptionItems.name

const itemCreateParams = group({
  ...itemShape,
  ...changeShape,
  proration_date: ignored(),
  subscription: text(),
} satisfies ShapeOf<Stripe.SubscriptionItemCreateParams>)

const itemUpdateParams = group({
  ...itemShape,
  ...changeShape,
  off_session: flag().optional(),
  proration_date: ignored(),
} satisfies ShapeOf<Stripe.SubscriptionItemUpdateParams>)

const itemDeleteParams = group({
  ...changeShape,
  clear_usage: ignored(),
  proration_date: ignored(),
} satisfies ShapeOf<Stripe.SubscriptionItemDeleteParams>)

/** @see https://docs.stripe.com/api/subscription_items */
export const subscriptionItemResource: Resource = {
  kind: itemKind,
  expandable: {
    discounts: { kind: 'discount' },
    price: { kind: 'price', inline: true },
  },
  operations: [
    operation({
      method: 'POST',
      path: ITEMS_PATH,
      returns: itemKind,
      params: itemCreateParams,
      run(call, { subscription, ...item }) {
        existing(call, subscriptions, subscription, 'subscription')
        const before = itemsOf(call, subscription).map(({ id }) => id)
        changeItem(call, subscription, item)
        return itemsOf(call, subscription).find(({ id }) => !before.includes(id))
      },
    }),
    retrieveOperation(`${ITEMS_PATH}/:id`, subscriptionItems, 'item'),
    operation({
      method: 'POST',
      path: `${ITEMS_PATH}/:id`,
      returns: itemKind,
      params: itemUpdateParams,
      run(call, params, { id = '' }) {
        const { subscription } = existing(call, subscriptionItems, id, 'item', 404)
        changeItem(call, subscription, { ...params, id })
        return call.account.rows(subscriptionItems).get(id)
      },
    }),
    operation({
      method: 'DELETE',
      path: `${ITEMS_PATH}/:id`,
      returns: itemKind,
      params: itemDeleteParams,
      run(call, _params, { id = '' }) {
        const { subscription } = existing(call, subscriptionItems, id, 'item', 404)
        changeItem(call, subscription, { id, deleted: true })
        return { id, object: 'subscription_item', deleted: true }
      },
    }),
    listOperation({
      path: ITEMS_PATH,
      table: subscriptionItems,
      filters: { subscription: text() } satisfies FiltersOf<Stripe.SubscriptionItemListParams>,
      where({ subscription }, call) {
        existing(call, subscriptions, subscription, 'subscription')
        return (item: WireSubscriptionItem) => item.subscription === subscription
      },
    }),
  ],
}

function changeItem(call: Call, id: string, item: ItemChange): void {
  const before = existing(call, subscriptions, id, 'subscription')
  if (ENDED.includes(before.status))
    throw refused(`The subscription ${id} is ${before.status}; its items cannot be changed.`)
  changeItems(call, before, [item], nowBy(call, idOf(before.test_clock)))
  const after = changeSubscription(call, id, {})
  emitEvent(call, 'customer.subscription.updated', after, before)
}

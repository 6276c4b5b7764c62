import type Stripe from 'stripe'
import { type FiltersOf, listOperation } from '../api/list-operation.ts'
import { flag, group, ignored, type ShapeOf, text } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { ENDED } from '../billing/cancel-subscription.ts'
import { changeItems, type ItemChange } from '../billing/subscription-items.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { refused } from '../core/stripe-error.ts'
import {
  changeSubscription,
  itemsOf,
  subscriptionItems,
  subscriptions,
  type WireSubscriptionItem,
} from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import { changeShape, itemShape } from './subscription-params.ts'

const PATH = '/v1/subscription_items'
const kind = subscriptionItems.name

const createParams = group({
  ...itemShape,
  ...changeShape,
  proration_date: ignored(),
  subscription: text(),
} satisfies ShapeOf<Stripe.SubscriptionItemCreateParams>)

const updateParams = group({
  ...itemShape,
  ...changeShape,
  off_session: flag().optional(),
  proration_date: ignored(),
} satisfies ShapeOf<Stripe.SubscriptionItemUpdateParams>)

const deleteParams = group({
  ...changeShape,
  clear_usage: ignored(),
  proration_date: ignored(),
} satisfies ShapeOf<Stripe.SubscriptionItemDeleteParams>)

/** @see https://docs.stripe.com/api/subscription_items */
export const subscriptionItemResource: Resource = {
  kind,
  expandable: {
    discounts: { kind: 'discount' },
    price: { kind: 'price', inline: true },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: createParams,
      run(call, { subscription, ...item }) {
        existing(call, subscriptions, subscription, 'subscription')
        const before = itemsOf(call, subscription).map(({ id }) => id)
        change(call, subscription, item)
        return itemsOf(call, subscription).find(({ id }) => !before.includes(id))
      },
    }),
    retrieveOperation(`${PATH}/:id`, subscriptionItems, 'item'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: updateParams,
      run(call, params, { id = '' }) {
        const { subscription } = existing(call, subscriptionItems, id, 'item', 404)
        change(call, subscription, { ...params, id })
        return call.account.rows(subscriptionItems).get(id)
      },
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: deleteParams,
      run(call, _params, { id = '' }) {
        const { subscription } = existing(call, subscriptionItems, id, 'item', 404)
        change(call, subscription, { id, deleted: true })
        return { id, object: 'subscription_item', deleted: true }
      },
    }),
    listOperation({
      path: PATH,
      table: subscriptionItems,
      filters: { subscription: text() } satisfies FiltersOf<Stripe.SubscriptionItemListParams>,
      where({ subscription }, call) {
        existing(call, subscriptions, subscription, 'subscription')
        return (item: WireSubscriptionItem) => item.subscription === subscription
      },
    }),
  ],
}

function change(call: Call, id: string, item: ItemChange): void {
  const before = existing(call, subscriptions, id, 'subscription')
  if (ENDED.includes(before.status))
    throw refused(`The subscription ${id} is ${before.status}; its items cannot be changed.`)
  changeItems(call, before, [item], nowBy(call, idOf(before.test_clock)))
  const after = changeSubscription(call, id, {})
  emitEvent(call, 'customer.subscription.updated', after, before)
}

import type Stripe from 'stripe'
import { embeddedList } from '../api/item-list.ts'
import { changeRow } from '../core/change-row.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import type { WirePlan } from './plan.ts'
import type { WirePrice } from './price.ts'

/** Decimals are text on the wire; the SDK makes `Decimal`s of them. */
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

/** Changes a subscription; its embedded items are always those that it has now. */
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

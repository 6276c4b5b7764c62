import type { Tx } from '../../db/connect.ts'
import { fromStripeAmount } from '../../shared/money.ts'
import type { Interval } from './plan-store.ts'
import type { Subscription, SubscriptionItem } from './subscription.ts'

type ItemRow = {
  subscription: string
  plan_id: string | null
  name: string | null
  price: string | null
  quantity: number | null
  amount: number | null
  currency: string
  interval: Interval
  interval_count: number
  from_stripe: boolean
}

const NAME = 'coalesce(product.name, plan.name) as name'

const REQUESTED_ITEMS = `
  select item.subscription_id as subscription, plan.id as plan_id, ${NAME}, plan.price_id as price,
    item.quantity, plan.amount, plan.currency, plan.interval, plan.interval_count,
    false as from_stripe
  from subscription_items item
  join billing_plans plan on plan.conference_id = item.conference_id and plan.id = item.plan_id
  left join stripe.products product
    on product.conference_id = plan.conference_id and product.id = plan.product_id
  where item.conference_id = ? and item.subscription_id = any (?)
  order by item.ordinal`

// The mirror may not have the price of an item, so amount and interval are read from the item's data.
const STRIPE_ITEMS = `
  select item.subscription, plan.id as plan_id, ${NAME}, item.price, item.quantity,
    (item.data #>> '{price,unit_amount}')::bigint as amount,
    upper(item.data #>> '{price,currency}') as currency,
    item.data #>> '{price,recurring,interval}' as interval,
    (item.data #>> '{price,recurring,interval_count}')::integer as interval_count,
    true as from_stripe
  from stripe.subscription_items item
  left join billing_plans plan
    on plan.conference_id = item.conference_id and plan.price_id = item.price
  left join stripe.products product
    on product.conference_id = item.conference_id and product.id = item.product
  where item.conference_id = ? and item.subscription = any (?)
  order by item.id`

function toItem(row: ItemRow): SubscriptionItem {
  const { amount, currency, from_stripe: isFromStripe } = row
  return {
    planId: row.plan_id,
    name: row.name,
    priceId: row.price,
    quantity: row.quantity ?? 1,
    amount: amount !== null && isFromStripe ? fromStripeAmount(amount, currency) : amount,
    currency,
    interval: row.interval,
    intervalCount: row.interval_count,
  }
}

async function itemsOf(
  trx: Tx,
  sql: string,
  conferenceId: string,
  ids: readonly string[],
): Promise<Map<string, SubscriptionItem[]>> {
  const found = new Map<string, SubscriptionItem[]>()
  if (ids.length === 0) return found
  const { rows } = await trx.raw<{ rows: ItemRow[] }>(sql, [conferenceId, [...ids]])
  for (const row of rows) {
    found.set(row.subscription, [...(found.get(row.subscription) ?? []), toItem(row)])
  }
  return found
}

/** The items of each subscription, in two queries for any number of subscriptions. */
export async function findItems(
  trx: Tx,
  conferenceId: string,
  subscriptions: readonly Subscription[],
): Promise<Map<string, SubscriptionItem[]>> {
  const fetched = subscriptions.flatMap(({ snapshot, stripeId }) =>
    snapshot === null || stripeId === null ? [] : stripeId,
  )
  const notFetched = subscriptions.filter(({ snapshot }) => snapshot === null).map(({ id }) => id)
  const requested = await itemsOf(trx, REQUESTED_ITEMS, conferenceId, notFetched)
  const atStripe = await itemsOf(trx, STRIPE_ITEMS, conferenceId, fetched)
  return new Map(
    subscriptions.map(({ id, stripeId, snapshot }) => [
      id,
      (snapshot === null ? requested.get(id) : atStripe.get(stripeId ?? '')) ?? [],
    ]),
  )
}

/** The prices and quantities of the creation request, in the caller's order. */
export async function requestedPrices(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<{ price: string; quantity: number }[]> {
  const items = await itemsOf(trx, REQUESTED_ITEMS, conferenceId, [id])
  return (items.get(id) ?? []).flatMap(({ priceId: price, quantity }) =>
    price === null ? [] : { price, quantity },
  )
}

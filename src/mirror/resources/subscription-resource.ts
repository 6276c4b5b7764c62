import type Stripe from 'stripe'
import {
  bigint,
  boolean,
  entriesOf,
  idIn,
  json,
  numeric,
  reference,
  text,
  timeIn,
  timestamp,
  wholeIn,
} from '../mirror-column.ts'
import {
  fetchWholeList,
  referencesTo,
  type StripeResource,
  type SyncContext,
} from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as customers } from './customer-resource.ts'
import { resource as prices } from './price-resource.ts'

/** Fields of older API versions. The period and the quantity moved to the items, the discount to a list. */
type Older = {
  current_period_start?: number | null
  current_period_end?: number | null
  discount?: unknown
  quantity?: number | null
}

const older = (subscription: Stripe.Subscription): Stripe.Subscription & Older => subscription

function itemsOf({ items }: Stripe.Subscription): readonly Stripe.SubscriptionItem[] {
  return Array.isArray(items?.data) ? items.data : []
}

/**
 * The period that all items share: from the latest start to the earliest end, which is the next
 * renewal. From the earliest start to the latest end it would include periods that are over.
 */
function periodStart(subscription: Stripe.Subscription): number | null {
  const starts = itemsOf(subscription).map((item) => item?.current_period_start)
  const known = starts.filter((start) => Number.isFinite(start))
  return (
    older(subscription).current_period_start ?? (known.length === 0 ? null : Math.max(...known))
  )
}

function periodEnd(subscription: Stripe.Subscription): number | null {
  const ends = itemsOf(subscription).map((item) => item?.current_period_end)
  const known = ends.filter((end) => Number.isFinite(end))
  return older(subscription).current_period_end ?? (known.length === 0 ? null : Math.min(...known))
}

/** The quantity of the only item. Several items have no common quantity. */
function quantityOf(subscription: Stripe.Subscription): number | null | undefined {
  const items = itemsOf(subscription)
  return older(subscription).quantity ?? (items.length === 1 ? items[0]?.quantity : null)
}

function discountsOf(subscription: Stripe.Subscription): unknown {
  const { discounts, discount } = older(subscription)
  return discounts ?? (discount ? [discount] : null)
}

const item = (member: string) => `item -> '${member}'`

/** @see https://docs.stripe.com/api/subscriptions/object */
export const resource: StripeResource<Stripe.Subscription> = {
  name: 'subscriptions',
  description: 'A recurring payment of a customer. Includes ended subscriptions.',
  objects: ['subscription'],
  idPrefixes: ['sub_'],
  columns: {
    status: text((subscription) => subscription.status, { indexed: true }),
    customer: reference((subscription) => subscription.customer),
    currency: text((subscription) => subscription.currency),
    description: text((subscription) => subscription.description),
    items: json((subscription) => subscription.items),
    quantity: bigint(quantityOf),
    start_date: timestamp((subscription) => subscription.start_date),
    current_period_start: timestamp(periodStart),
    current_period_end: timestamp(periodEnd, { indexed: true }),
    billing_cycle_anchor: timestamp((subscription) => subscription.billing_cycle_anchor),
    trial_start: timestamp((subscription) => subscription.trial_start),
    trial_end: timestamp((subscription) => subscription.trial_end),
    trial_settings: json((subscription) => subscription.trial_settings),
    cancel_at: timestamp((subscription) => subscription.cancel_at),
    cancel_at_period_end: boolean((subscription) => subscription.cancel_at_period_end),
    canceled_at: timestamp((subscription) => subscription.canceled_at),
    cancellation_details: json((subscription) => subscription.cancellation_details),
    ended_at: timestamp((subscription) => subscription.ended_at),
    pause_collection: json((subscription) => subscription.pause_collection),
    latest_invoice: reference((subscription) => subscription.latest_invoice),
    collection_method: text((subscription) => subscription.collection_method),
    days_until_due: bigint((subscription) => subscription.days_until_due),
    default_payment_method: reference((subscription) => subscription.default_payment_method),
    default_source: reference((subscription) => subscription.default_source),
    default_tax_rates: json((subscription) => subscription.default_tax_rates),
    automatic_tax: json((subscription) => subscription.automatic_tax),
    billing_thresholds: json((subscription) => subscription.billing_thresholds),
    discounts: json(discountsOf),
    application_fee_percent: numeric((subscription) => subscription.application_fee_percent),
    next_pending_invoice_item_invoice: timestamp(
      (subscription) => subscription.next_pending_invoice_item_invoice,
    ),
    pending_invoice_item_interval: json(
      (subscription) => subscription.pending_invoice_item_interval,
    ),
    pending_setup_intent: reference((subscription) => subscription.pending_setup_intent),
    pending_update: json((subscription) => subscription.pending_update),
    schedule: reference((subscription) => subscription.schedule),
    test_clock: reference((subscription) => subscription.test_clock),
  },
  views: {
    subscription_items: `
      select mirror.conference_id, item ->> 'id' as id, mirror.id as subscription,
        mirror.customer, mirror.status,
        coalesce(${idIn(item('price'))}, ${idIn(item('plan'))}) as price,
        coalesce(${idIn(`${item('price')} -> 'product'`)},
          ${idIn(`${item('plan')} -> 'product'`)}) as product,
        ${wholeIn(item('quantity'))} as quantity,
        ${timeIn(item('current_period_start'))} as current_period_start,
        ${timeIn(item('current_period_end'))} as current_period_end,
        ${timeIn(item('created'))} as created,
        ${item('metadata')} as metadata, item as data
      from mirror cross join lateral ${entriesOf(`mirror.data -> 'items'`)} as item
      where mirror.deleted_at is null`,
  },
  listing: {
    by: 'pages',
    windows: true,
    // Without `status`, Stripe does not list cancelled subscriptions.
    page: (stripe, params) => stripe.subscriptions.list({ ...params, status: 'all' }),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.subscriptions.retrieve(id),
  references: (subscription) =>
    referencesTo(
      [customers, subscription.customer],
      [prices, itemsOf(subscription).map((each) => each?.price)],
    ),
  complete: async (stripe, subscription) => {
    const { id, items } = subscription
    if (items?.has_more !== true) return subscription
    const data = await fetchWholeList((params) =>
      stripe.subscriptionItems.list({ ...params, subscription: id }),
    )
    return { ...subscription, items: { ...items, data, has_more: false } }
  },
  belongsTo: (subscription) => [[customers, subscription.customer]],
  createAction: (context) => new StripeSubscriptionAction(context),
}

/** Mirrors subscriptions, including ended ones. The view `stripe.subscription_items` shows their items. */
export class StripeSubscriptionAction extends StripeSyncAction<Stripe.Subscription> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}

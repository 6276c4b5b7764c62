import type { z } from 'zod'
import type { Tx } from '../../../db/connect.ts'
import { toTimestamp } from '../../../http/common-schemas.ts'
import { SUBSCRIPTION_STATUSES, type Subscription, type SubscriptionItem } from './subscription.ts'
import { findItems } from './subscription-items.ts'
import type { subscriptionSchema } from './subscription-schemas.ts'

export type SubscriptionBody = z.output<typeof subscriptionSchema>

/** The API's objects of subscriptions, in a fixed number of queries. */
export async function viewSubscriptions(
  trx: Tx,
  conferenceId: string,
  subscriptions: readonly Subscription[],
): Promise<SubscriptionBody[]> {
  const items = await findItems(trx, conferenceId, subscriptions)
  return subscriptions.map((subscription) => toBody(subscription, items.get(subscription.id) ?? []))
}

export async function viewSubscription(
  trx: Tx,
  subscription: Subscription,
): Promise<SubscriptionBody> {
  const [body] = await viewSubscriptions(trx, subscription.conferenceId, [subscription])
  if (body === undefined) throw new Error(`Subscription ${subscription.id} has no view`)
  return body
}

function toBody(subscription: Subscription, items: readonly SubscriptionItem[]): SubscriptionBody {
  const { reading, refusal } = subscription
  return {
    id: subscription.id,
    object: 'subscription',
    customer: subscription.customerId,
    sponsor: subscription.sponsorId,
    status: SUBSCRIPTION_STATUSES.find((known) => known === reading?.status) ?? null,
    state: subscription.state,
    failure: refusal === null ? null : { message: refusal },
    items: items.map(toItemBody),
    payment_method: subscription.paymentMethod,
    coupon: subscription.coupon,
    trial_period_days: subscription.trialPeriodDays,
    metadata: subscription.metadata,
    end_date: subscription.endDate,
    cancel_at_period_end: reading?.cancelAtPeriodEnd ?? false,
    cancel_at: toTimestamp(reading?.cancelAt ?? null),
    canceled_at: toTimestamp(reading?.canceledAt ?? null),
    ended_at: toTimestamp(reading?.endedAt ?? null),
    current_period_start: toTimestamp(reading?.currentPeriodStart ?? null),
    current_period_end: toTimestamp(reading?.currentPeriodEnd ?? null),
    trial_end: toTimestamp(reading?.trialEnd ?? null),
    latest_invoice: reading?.latestInvoice ?? null,
    stripe_subscription: subscription.stripeId,
    created_by: subscription.createdBy,
    cancel_requested_by: subscription.cancelRequestedBy,
    as_of: toTimestamp(reading?.asOf ?? null),
    created_at: toTimestamp(subscription.createdAt),
    updated_at: toTimestamp(subscription.updatedAt),
  }
}

function toItemBody(item: SubscriptionItem): SubscriptionBody['items'][number] {
  return {
    plan: item.planId,
    name: item.name,
    stripe_price: item.priceId,
    quantity: item.quantity,
    amount: item.amount,
    currency: item.currency,
    interval: item.interval,
    interval_count: item.intervalCount,
  }
}

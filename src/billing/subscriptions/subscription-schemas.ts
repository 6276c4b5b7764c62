import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { conferenceParams, id, optionalBody, pageOf, pageQuery } from '../../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import { metadataChanges, metadataInput } from '../metadata.ts'
import { creationState } from './plan-schemas.ts'
import { INTERVALS } from './plan-store.ts'
import { SUBSCRIPTION_STATUSES, type Subscription, type SubscriptionItem } from './subscription.ts'
import { findItems } from './subscription-items.ts'

export const subscriptionParams = conferenceParams.extend({ subscription: id })

const endDate = z.iso.date().max(10).nullable().meta({
  description:
    'From this day on (UTC), the subscription is cancelled at the end of its period. null: no end.',
})

const taxRates = z
  .array(
    z
      .string()
      .regex(/^txr_\w{1,250}$/, 'must be the id of a Stripe tax rate: `txr_…`')
      .max(254),
  )
  .max(5)
  .meta({ description: 'Stripe tax rates of all items. Stripe adds the tax to each invoice.' })

export const createSubscriptionBody = z
  .strictObject({
    customer: id.meta({
      description: 'The id of a customer of this service: `cust_…`, not the Stripe id.',
    }),
    items: z
      .array(
        z.strictObject({
          plan: id,
          quantity: z.int().min(1).max(1_000_000).default(1),
        }),
      )
      .min(1)
      // https://docs.stripe.com/billing/subscriptions/multiple-products
      .max(20),
    payment_method: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .meta({ description: "A payment method of the customer. Default: the customer's default." }),
    coupon: z.string().min(1).max(255).optional().meta({ description: "Stripe's id of a coupon." }),
    tax_rates: taxRates.default([]),
    trial_period_days: z
      .int()
      .min(0)
      .max(730)
      .optional()
      .meta({ description: 'Default: the longest trial of the plans.' }),
    metadata: metadataInput.default({}),
    end_date: endDate.default(null),
  })
  .meta({ id: 'CreateSubscription' })

export const updateSubscriptionBody = z
  .strictObject({ metadata: metadataChanges, tax_rates: taxRates, end_date: endDate })
  .partial()
  .meta({ id: 'UpdateSubscription' })

export const cancelSubscriptionBody = optionalBody(
  z.strictObject({
    at_period_end: z.boolean().default(false).meta({
      description: 'true: cancel at the end of the paid period. false: cancel immediately.',
    }),
  }),
)

export const listSubscriptionsQuery = z.strictObject({
  status: z.enum(SUBSCRIPTION_STATUSES).optional(),
  customer: id.min(1).optional(),
  ...pageQuery,
})

const itemSchema = z
  .object({
    plan: z.string().nullable().meta({ description: 'null for a price without a plan here.' }),
    name: z.string().nullable(),
    stripe_price: z.string().nullable(),
    quantity: z.int(),
    amount: z.int().nullable().meta({ description: 'Price of one unit, in minor units.' }),
    currency: z.string(),
    interval: z.enum(INTERVALS),
    interval_count: z.int(),
  })
  .meta({ id: 'SubscriptionItem' })

export const subscriptionSchema = z
  .object({
    id: z.string(),
    object: z.literal('subscription'),
    customer: z.string(),
    sponsor: z.string(),
    status: z.enum(SUBSCRIPTION_STATUSES).nullable().meta({
      description:
        "Stripe's status, as last fetched. null until Stripe has created the subscription.",
    }),
    state: creationState,
    failure: z.object({ message: z.string() }).nullable(),
    items: z.array(itemSchema),
    payment_method: z.string().nullable(),
    coupon: z.string().nullable(),
    tax_rates: z.array(z.string()).meta({ description: 'As last requested here.' }),
    trial_period_days: z.int(),
    metadata: z.record(z.string(), z.string()),
    end_date: z.iso.date().nullable(),
    cancel_at_period_end: z.boolean(),
    cancel_at: timestamp.nullable(),
    canceled_at: timestamp.nullable(),
    ended_at: timestamp.nullable(),
    current_period_start: timestamp.nullable(),
    current_period_end: timestamp.nullable(),
    trial_end: timestamp.nullable(),
    latest_invoice: z.string().nullable(),
    stripe_subscription: z.string().nullable(),
    created_by: z.string(),
    cancel_requested_by: z.string().nullable(),
    as_of: timestamp
      .nullable()
      .meta({ description: 'When the subscription was last fetched from Stripe.' }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Subscription' })

export const subscriptionPage = pageOf(subscriptionSchema).meta({ id: 'SubscriptionPage' })

export type SubscriptionBody = z.output<typeof subscriptionSchema>

/** The API bodies of subscriptions, in a fixed number of queries. */
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
  const { snapshot, refusal } = subscription
  return {
    id: subscription.id,
    object: 'subscription',
    customer: subscription.customerId,
    sponsor: subscription.sponsorId,
    status: SUBSCRIPTION_STATUSES.find((known) => known === snapshot?.status) ?? null,
    state: subscription.state,
    failure: refusal === null ? null : { message: refusal },
    items: items.map(toItemBody),
    payment_method: subscription.paymentMethod,
    coupon: subscription.coupon,
    tax_rates: subscription.taxRates,
    trial_period_days: subscription.trialPeriodDays,
    metadata: subscription.metadata,
    end_date: subscription.endDate,
    cancel_at_period_end: snapshot?.cancelAtPeriodEnd ?? false,
    cancel_at: toTimestamp(snapshot?.cancelAt ?? null),
    canceled_at: toTimestamp(snapshot?.canceledAt ?? null),
    ended_at: toTimestamp(snapshot?.endedAt ?? null),
    current_period_start: toTimestamp(snapshot?.currentPeriodStart ?? null),
    current_period_end: toTimestamp(snapshot?.currentPeriodEnd ?? null),
    trial_end: toTimestamp(snapshot?.trialEnd ?? null),
    latest_invoice: snapshot?.latestInvoice ?? null,
    stripe_subscription: subscription.stripeId,
    created_by: subscription.createdBy,
    cancel_requested_by: subscription.cancelRequestedBy,
    as_of: toTimestamp(snapshot?.asOf ?? null),
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

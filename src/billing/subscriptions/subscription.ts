import type { CreationState, Interval } from './plan-store.ts'

/** @see https://docs.stripe.com/api/subscriptions/object#subscription_object-status */
export const SUBSCRIPTION_STATUSES = [
  'incomplete',
  'incomplete_expired',
  'trialing',
  'active',
  'past_due',
  'canceled',
  'unpaid',
  'paused',
] as const

/** Final statuses. */
export const ENDED_STATUSES: readonly string[] = ['canceled', 'incomplete_expired']

/** An item of a subscription: Stripe's, or the requested one until Stripe has created it. */
export type SubscriptionItem = {
  /** Null for a price without a plan here, such as one that was added in Stripe's dashboard. */
  planId: string | null
  name: string | null
  priceId: string | null
  quantity: number
  /** Integer minor units of the currency; null for a price without a fixed amount. */
  amount: number | null
  /** Upper-case ISO 4217. */
  currency: string
  interval: Interval
  intervalCount: number
}

/** A subscription: what was requested here, and `snapshot`, its state at Stripe. */
export type Subscription = {
  conferenceId: string
  id: string
  customerId: string
  sponsorId: string
  /** The payment method to charge; null: the customer's default. */
  paymentMethod: string | null
  /** The requested coupon. Stripe keeps the state of the discount. */
  coupon: string | null
  /** Stripe's ids, as last requested. */
  taxRates: string[]
  trialPeriodDays: number
  metadata: { [key: string]: string }
  /** `YYYY-MM-DD`, in UTC. */
  endDate: string | null
  state: CreationState
  stripeId: string | null
  refusal: string | null
  createdBy: string
  cancelRequestedBy: string | null
  createdAt: Date
  updatedAt: Date
  /** Stripe's subscription, as last fetched; null before the first fetch. */
  snapshot: SubscriptionSnapshot | null
}

export type SubscriptionSnapshot = {
  status: string
  asOf: Date
  cancelAtPeriodEnd: boolean
  cancelAt: Date | null
  canceledAt: Date | null
  endedAt: Date | null
  currentPeriodStart: Date | null
  currentPeriodEnd: Date | null
  trialEnd: Date | null
  latestInvoice: string | null
}

export type SubscriptionRef = { conferenceId: string; subscriptionId: string }

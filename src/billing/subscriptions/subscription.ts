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

/** From which nothing leads back. */
export const ENDED_STATUSES: readonly string[] = ['canceled', 'incomplete_expired']

/** What is paid for, as Stripe has it, or as it was asked for while Stripe has nothing yet. */
export type SubscriptionItem = {
  /** Null for a price that is no plan of ours, such as one added in Stripe's dashboard. */
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

/** A subscription: ours in what was asked for, Stripe's in what became of it. */
export type Subscription = {
  conferenceId: string
  id: string
  customerId: string
  sponsorId: string
  /** What is charged; null: the customer's default. */
  paymentMethod: string | null
  /** What it was asked for with; Stripe keeps what is left of the discount. */
  coupon: string | null
  trialPeriodDays: number
  metadata: { [key: string]: string }
  /** `YYYY-MM-DD`, in UTC. */
  endDate: string | null
  state: CreationState
  attempt: number
  stripeId: string | null
  refusal: string | null
  createdBy: string
  cancelRequestedBy: string | null
  createdAt: Date
  updatedAt: Date
  /** The last reading of Stripe's subscription; null before the first. */
  reading: SubscriptionSnapshot | null
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

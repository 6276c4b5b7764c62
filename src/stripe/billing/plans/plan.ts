/** Where our request to Stripe stands: asked for, made there, or refused for good. */
export const ORDER_STATES = ['requested', 'created', 'refused'] as const

export type OrderState = (typeof ORDER_STATES)[number]

export const INTERVALS = ['day', 'week', 'month', 'year'] as const

export type Interval = (typeof INTERVALS)[number]

/**
 * Three years, counted in each of the intervals.
 *
 * @see https://docs.stripe.com/api/prices/create#create_price-recurring-interval_count
 */
export const LONGEST_INTERVAL: Record<Interval, number> = {
  day: 1095,
  week: 156,
  month: 36,
  year: 3,
}

/** What a subscriber of a plan pays and when. Fixed once the plan exists: Stripe changes no price. */
export type PlanTerms = {
  /** Integer minor units of the currency. */
  amount: number
  /** Upper-case ISO 4217. */
  currency: string
  interval: Interval
  intervalCount: number
  /** Days before the first payment. */
  trialPeriodDays: number
}

/** A plan as Stripe has it, or as it was asked for while Stripe has none yet. */
export type Plan = PlanTerms & {
  id: string
  conferenceId: string
  name: string
  metadata: { [key: string]: string }
  state: OrderState
  /** Of our requests to make it: names the idempotency key. */
  attempt: number
  /** New subscriptions may have it. False for one that is archived or gone at Stripe. */
  active: boolean
  /** The mirror has its product and its price. */
  mirrored: boolean
  productId: string | null
  priceId: string | null
  /** Why Stripe refused it, in Stripe's words. */
  refusal: string | null
  createdBy: string
  createdAt: Date
  updatedAt: Date
}

export type PlanRef = { conferenceId: string; planId: string }

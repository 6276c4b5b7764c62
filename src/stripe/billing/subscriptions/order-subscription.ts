import type Stripe from 'stripe'
import { z } from 'zod'
import { isStoredError } from '../../checkout.ts'
import { askStripe, isRefusal, refusalMessage, toAppError } from '../../stripe-errors.ts'
import { parseAnswer } from '../../stripe-objects.ts'
import type { Subscription } from './subscription.ts'

export type SubscriptionOrder = Pick<
  Subscription,
  | 'conferenceId'
  | 'id'
  | 'sponsorId'
  | 'attempt'
  | 'paymentMethod'
  | 'coupon'
  | 'trialPeriodDays'
  | 'metadata'
> & {
  /** Stripe's customer. */
  customer: string
  items: readonly { price: string; quantity: number }[]
  /** Somebody has asked before, and may have got it. */
  isRepeat: boolean
}

export type SubscriptionOrdered =
  | { kind: 'created'; stripeId: string }
  /** Stripe will not make it, whenever it is asked. */
  | { kind: 'refused'; message: string }
  /** Stripe keeps an error under the attempt's key and has made nothing. */
  | { kind: 'stored_error'; message: string }

const subscriptionObject = z.object({ id: z.string().min(1) })

/**
 * A card that is declined leaves an `incomplete` subscription instead of none: its invoice can still
 * be paid within 23 hours. @see https://docs.stripe.com/billing/subscriptions/overview#requires-payment-method
 */
function createParams(order: SubscriptionOrder): Stripe.SubscriptionCreateParams {
  return {
    customer: order.customer,
    items: order.items.map(({ price, quantity }) => ({ price, quantity })),
    payment_behavior: 'allow_incomplete',
    off_session: true,
    metadata: {
      ...order.metadata,
      conference_id: order.conferenceId,
      sponsor_id: order.sponsorId,
      subscription_id: order.id,
    },
    ...(order.paymentMethod === null ? {} : { default_payment_method: order.paymentMethod }),
    ...(order.coupon === null ? {} : { discounts: [{ coupon: order.coupon }] }),
    ...(order.trialPeriodDays === 0 ? {} : { trial_period_days: order.trialPeriodDays }),
  }
}

/** Makes the subscription, or finds the one that an earlier try made. @throws AppError `stripe_…` */
export async function orderSubscription(
  stripe: Stripe,
  order: SubscriptionOrder,
): Promise<SubscriptionOrdered> {
  // Stripe forgets a key after a day, so a repeat does not rely on it.
  const known = order.isRepeat ? await findSubscription(stripe, order) : null
  if (known !== null) return { kind: 'created', stripeId: known }
  const idempotencyKey = `subscription:${order.id}:create:${order.attempt}`
  try {
    const answer = await stripe.subscriptions.create(createParams(order), { idempotencyKey })
    return { kind: 'created', stripeId: parseAnswer(subscriptionObject, answer, 'subscription').id }
  } catch (error) {
    if (isStoredError(error)) {
      const made = await findSubscription(stripe, order)
      if (made !== null) return { kind: 'created', stripeId: made }
      return { kind: 'stored_error', message: refusalMessage(error) }
    }
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

/** The id of the customer's subscription that names ours, or null. */
function findSubscription(
  stripe: Stripe,
  { customer, id }: SubscriptionOrder,
): Promise<string | null> {
  return askStripe(async () => {
    const all = stripe.subscriptions.list({ customer, status: 'all', limit: 100 })
    for await (const found of all) {
      if (found.metadata?.['subscription_id'] === id) return found.id
    }
    return null
  })
}

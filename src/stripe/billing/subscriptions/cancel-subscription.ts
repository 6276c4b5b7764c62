import { isRefusal, toAppError } from '../../stripe-errors.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { readSubscription } from './read-subscription.ts'
import { ENDED_STATUSES, type Subscription, type SubscriptionRef } from './subscription.ts'

/**
 * Asks Stripe to end a subscription: now, or when what is paid for is over. What its status is then,
 * Stripe says. One that has ended, or ends by itself, is left as it is. May be repeated and run
 * beside itself.
 *
 * @throws AppError `not_found`, `wrong_state`, `stripe_…`
 */
export async function cancelSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
  { atPeriodEnd }: { atPeriodEnd: boolean },
): Promise<Subscription> {
  const before = await readSubscription(deps, ref)
  const { stripeId, reading } = before
  if (stripeId === null || reading === null || hasEnded(before)) return before
  if (atPeriodEnd && reading.cancelAtPeriodEnd) return before
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  // Nothing was ever paid for: Stripe has no period whose end could be waited for.
  const isUnpaidFor = reading.status === 'incomplete'
  try {
    if (atPeriodEnd && !isUnpaidFor) {
      await stripe.subscriptions.update(stripeId, { cancel_at_period_end: true })
    } else {
      await stripe.subscriptions.cancel(stripeId)
    }
  } catch (error) {
    // For Stripe, one that has ended meanwhile does not exist or cannot be changed.
    if (!isRefusal(error)) throw toAppError(error)
    const now = await readSubscription(deps, ref)
    if (hasEnded(now)) return now
    throw toAppError(error)
  }
  return readSubscription(deps, ref)
}

const hasEnded = ({ reading }: Subscription) => ENDED_STATUSES.includes(reading?.status ?? '')

import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { StripeSubscriptionAction } from '../../mirror/resources/subscription-resource.ts'
import { AppError } from '../../shared/errors.ts'
import { callStripe, isRefusal, toAppError } from '../../stripe/stripe-errors.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import { type MetadataChanges, toStripeMetadata } from '../metadata.ts'
import { ENDED_STATUSES, type Subscription, type SubscriptionRef } from './subscription.ts'
import { assertEndDate, getSubscription, saveEndDate } from './subscription-store.ts'

export type SubscriptionChanges = {
  metadata?: MetadataChanges | undefined
  /** `YYYY-MM-DD`, in UTC; null: none. */
  endDate?: string | null | undefined
}

/**
 * Changes metadata at Stripe, and the day of the end here.
 *
 * @throws AppError `not_found`, `validation_failed`, `wrong_state`, `stripe_…`
 */
export async function changeSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
  { metadata, endDate }: SubscriptionChanges,
): Promise<Subscription> {
  if (metadata !== undefined) {
    const { stripeId } = await withTenant(deps.db, ref, (trx) => getCreatedSubscription(trx, ref))
    const { stripe } = await deps.clients.connect(ref.conferenceId)
    const changes = { metadata: toStripeMetadata(metadata) }
    await callStripe(() => stripe.subscriptions.update(stripeId, changes))
    await fetchSubscription(deps, ref)
  }
  return withTenant(deps.db, ref, async (trx) => {
    if (endDate !== undefined) {
      await assertEndDate(trx, endDate)
      await saveEndDate(trx, ref, endDate)
    }
    return getSubscription(trx, ref)
  })
}

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
  const before = await fetchSubscription(deps, ref)
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
    const now = await fetchSubscription(deps, ref)
    if (hasEnded(now)) return now
    throw toAppError(error)
  }
  return fetchSubscription(deps, ref)
}

const hasEnded = ({ reading }: Subscription) => ENDED_STATUSES.includes(reading?.status ?? '')

/** One that exists at Stripe, with its id there. */
export type CreatedSubscription = Subscription & { stripeId: string }

/** @throws AppError `not_found`, `wrong_state` for one that does not exist at Stripe. */
export async function getCreatedSubscription(
  trx: Tx,
  ref: SubscriptionRef,
): Promise<CreatedSubscription> {
  const subscription = await getSubscription(trx, ref)
  const { stripeId, state } = subscription
  if (stripeId !== null) return { ...subscription, stripeId }
  throw new AppError('wrong_state', 'The subscription does not exist at Stripe.', {
    extra: { state_now: state },
  })
}

/**
 * Reads the subscription from Stripe into the mirror. Read anew even after a request that returned
 * it, since that may be an answer which Stripe kept from an earlier try.
 *
 * @throws AppError `not_found`, `wrong_state`, `stripe_…`
 */
export async function fetchSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
): Promise<Subscription> {
  const load = (trx: Tx) => getCreatedSubscription(trx, ref)
  const { stripeId } = await withTenant(deps.db, ref, load)
  const action = new StripeSubscriptionAction(mirrorContext(deps, ref.conferenceId))
  await callStripe(() => action.refresh(stripeId))
  return withTenant(deps.db, ref, load)
}

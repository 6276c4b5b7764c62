import type Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { StripeSubscriptionAction } from '../../mirror/resources/subscription-resource.ts'
import { AppError, afterWrite } from '../../shared/errors.ts'
import { callStripe, isRefusal, toAppError } from '../../stripe/stripe-errors.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import { type MetadataChanges, toStripeMetadata } from '../metadata.ts'
import { ENDED_STATUSES, type Subscription, type SubscriptionRef } from './subscription.ts'
import { assertEndDate, getSubscription, saveEndDate, saveTaxRates } from './subscription-store.ts'

export type SubscriptionChanges = {
  metadata?: MetadataChanges | undefined
  /** Stripe's ids; an empty list removes them. */
  taxRates?: readonly string[] | undefined
  /** `YYYY-MM-DD`, in UTC; null removes it. */
  endDate?: string | null | undefined
}

/**
 * Changes the metadata and the tax rates at Stripe, and the end date here. It may be repeated.
 *
 * @throws AppError `not_found`, `validation_failed`, `wrong_state`, `stripe_…`
 */
export async function changeSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
  { metadata, taxRates, endDate }: SubscriptionChanges,
): Promise<Subscription> {
  if (metadata !== undefined || taxRates !== undefined) {
    const { stripeId } = await withTenant(deps.db, ref, (trx) => getCreatedSubscription(trx, ref))
    const { stripe } = await deps.clients.connect(ref.conferenceId)
    const changes: Stripe.SubscriptionUpdateParams = {
      ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
      ...(taxRates === undefined
        ? {}
        : { default_tax_rates: taxRates.length === 0 ? '' : [...taxRates] }),
    }
    await callStripe(() => stripe.subscriptions.update(stripeId, changes))
    await afterWrite(() => fetchSubscription(deps, ref))
  }
  return withTenant(deps.db, ref, async (trx) => {
    if (taxRates !== undefined) await saveTaxRates(trx, ref, taxRates)
    if (endDate !== undefined) {
      await assertEndDate(trx, endDate)
      await saveEndDate(trx, ref, endDate)
    }
    return getSubscription(trx, ref)
  })
}

/**
 * Cancels a subscription at Stripe, now or at the end of the paid period. The resulting status comes
 * from Stripe. For a subscription that has ended, or already ends with its period, it is a no-op. It may
 * be repeated and may run concurrently.
 *
 * @throws AppError `not_found`, `wrong_state`, `stripe_…`
 */
export async function cancelSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
  { atPeriodEnd }: { atPeriodEnd: boolean },
): Promise<Subscription> {
  const before = await fetchSubscription(deps, ref)
  const { stripeId, snapshot } = before
  if (stripeId === null || snapshot === null || hasEnded(before)) return before
  if (atPeriodEnd && snapshot.cancelAtPeriodEnd) return before
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  // An unpaid first invoice: there is no paid period, so the subscription ends now.
  const isUnpaidFor = snapshot.status === 'incomplete'
  try {
    if (atPeriodEnd && !isUnpaidFor) {
      await stripe.subscriptions.update(stripeId, { cancel_at_period_end: true })
    } else {
      await stripe.subscriptions.cancel(stripeId)
    }
  } catch (error) {
    // Stripe refuses to change a subscription that has ended in the meantime.
    if (!isRefusal(error)) throw toAppError(error)
    const now = await fetchSubscription(deps, ref)
    if (hasEnded(now)) return now
    throw toAppError(error)
  }
  return afterWrite(() => fetchSubscription(deps, ref))
}

const hasEnded = ({ snapshot }: Subscription) => ENDED_STATUSES.includes(snapshot?.status ?? '')

/** A subscription that exists at Stripe, with its Stripe id. */
export type CreatedSubscription = Subscription & { stripeId: string }

/** @throws AppError `not_found`; `wrong_state` when it does not exist at Stripe. */
export async function getCreatedSubscription(
  trx: Tx,
  ref: SubscriptionRef,
): Promise<CreatedSubscription> {
  const subscription = await getSubscription(trx, ref)
  const { stripeId, state } = subscription
  if (stripeId !== null) return { ...subscription, stripeId }
  throw new AppError(
    'wrong_state',
    `The subscription does not exist at Stripe: its state is ${state}.`,
    {
      extra: { state_now: state },
    },
  )
}

/**
 * Fetches the subscription from Stripe into the mirror. The response of a create or update request is not
 * used, because Stripe may have replayed it from an earlier request.
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

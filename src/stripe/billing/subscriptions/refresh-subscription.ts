import { withTenant } from '../../../db/tenant-scope.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { finishSubscription } from './create-subscription.ts'
import { readSubscription } from './read-subscription.ts'
import type { Subscription, SubscriptionRef } from './subscription.ts'
import { getSubscription } from './subscription-store.ts'

/**
 * Brings a subscription up to date with Stripe: reads it, or makes it where Stripe was asked and the
 * answer was lost. One that Stripe refused stays as it is.
 *
 * @throws AppError `not_found`, `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function refreshSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
): Promise<Subscription> {
  const known = await withTenant(deps.db, ref, (trx) => getSubscription(trx, ref))
  if (known.state === 'refused') return known
  return known.state === 'requested' ? finishSubscription(deps, ref) : readSubscription(deps, ref)
}

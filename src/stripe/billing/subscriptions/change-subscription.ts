import { withTenant } from '../../../db/tenant-scope.ts'
import { askStripe } from '../../stripe-errors.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { type MetadataChanges, toStripeChanges } from '../metadata.ts'
import { assertEndDate } from './end-date.ts'
import { getMadeSubscription, readSubscription } from './read-subscription.ts'
import type { Subscription, SubscriptionRef } from './subscription.ts'
import { getSubscription, saveEndDate } from './subscription-store.ts'

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
    const { stripeId } = await withTenant(deps.db, ref, (trx) => getMadeSubscription(trx, ref))
    const { stripe } = await deps.clients.connect(ref.conferenceId)
    const changes = { metadata: toStripeChanges(metadata) }
    await askStripe(() => stripe.subscriptions.update(stripeId, changes))
    await readSubscription(deps, ref)
  }
  return withTenant(deps.db, ref, async (trx) => {
    if (endDate !== undefined) {
      await assertEndDate(trx, endDate)
      await saveEndDate(trx, ref, endDate)
    }
    return getSubscription(trx, ref)
  })
}

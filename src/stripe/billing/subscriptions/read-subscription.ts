import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { AppError } from '../../../shared/errors.ts'
import { askStripe } from '../../stripe-errors.ts'
import { StripeSubscriptionAction } from '../../sync/resources/subscriptions.ts'
import { type BillingDeps, mirrorContext } from '../customers/billing-deps.ts'
import type { Subscription, SubscriptionRef } from './subscription.ts'
import { getSubscription } from './subscription-store.ts'

/** One that exists at Stripe, with its id there. */
export type MadeSubscription = Subscription & { stripeId: string }

/** @throws AppError `not_found`, `wrong_state` for one that does not exist at Stripe. */
export async function getMadeSubscription(
  trx: Tx,
  ref: SubscriptionRef,
): Promise<MadeSubscription> {
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
export async function readSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
): Promise<Subscription> {
  const load = (trx: Tx) => getMadeSubscription(trx, ref)
  const { stripeId } = await withTenant(deps.db, ref, load)
  const action = new StripeSubscriptionAction(mirrorContext(deps, ref.conferenceId))
  await askStripe(() => action.refresh(stripeId))
  return withTenant(deps.db, ref, load)
}

import { askStripe } from '../../stripe-errors.ts'
import { StripePlanAction } from '../../sync/resources/plans.ts'
import { StripePriceAction } from '../../sync/resources/prices.ts'
import { StripeProductAction } from '../../sync/resources/products.ts'
import { type BillingDeps, mirrorContext } from '../customers/billing-deps.ts'
import type { Plan } from './plan.ts'

/**
 * Reads the plan's objects from Stripe into the mirror. Read anew, since what a request returned may
 * be an answer that Stripe kept from an earlier try.
 *
 * @throws AppError `stripe_…`
 */
export async function mirrorPlan(
  deps: BillingDeps,
  { conferenceId, productId, priceId }: Pick<Plan, 'conferenceId' | 'productId' | 'priceId'>,
): Promise<void> {
  const context = mirrorContext(deps, conferenceId)
  await askStripe(() =>
    Promise.all([
      productId === null ? null : new StripeProductAction(context).refresh(productId),
      // Each recurring price is a plan as well, under the same id.
      priceId === null ? null : new StripePriceAction(context).refresh(priceId),
      priceId === null ? null : new StripePlanAction(context).refresh(priceId),
    ]),
  )
}

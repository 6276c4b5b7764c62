import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { AppError } from '../../../shared/errors.ts'
import { askStripe } from '../../stripe-errors.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { type MetadataChanges, toStripeChanges } from '../metadata.ts'
import { mirrorPlan } from './mirror-plan.ts'
import type { Plan, PlanRef } from './plan.ts'
import { getPlan } from './plan-store.ts'

export type PlanChanges = {
  name?: string | undefined
  metadata?: MetadataChanges | undefined
  active?: boolean | undefined
}

/** @throws AppError `not_found`, `wrong_state` for one that does not exist at Stripe. */
export async function getChangeablePlan(trx: Tx, ref: PlanRef): Promise<Plan> {
  const plan = await getPlan(trx, ref)
  if (plan.state === 'created') return plan
  throw new AppError('wrong_state', 'The plan does not exist at Stripe.', {
    extra: { state_now: plan.state },
  })
}

/**
 * Changes the plan at Stripe and reads what it is then. Archived is the product: Stripe archives no
 * price that is its product's default. Subscriptions that have the plan keep it.
 *
 * @throws AppError `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function changePlan(
  deps: BillingDeps,
  ref: PlanRef,
  { name, metadata, active }: PlanChanges,
): Promise<Plan> {
  const load = (trx: Tx) => getChangeablePlan(trx, ref)
  const plan = await withTenant(deps.db, ref, load)
  const { productId, priceId } = plan
  if (productId === null || priceId === null) throw new Error(`Plan ${plan.id} has no ids`)
  const stripe = await deps.clients.forConference(ref.conferenceId)
  await askStripe(async () => {
    // One that was archived by hand would keep the plan from being offered again.
    if (active === true) await stripe.prices.update(priceId, { active })
    await stripe.products.update(productId, {
      ...(name === undefined ? {} : { name }),
      ...(active === undefined ? {} : { active }),
      ...(metadata === undefined ? {} : { metadata: toStripeChanges(metadata) }),
    })
  })
  await mirrorPlan(deps, plan)
  return withTenant(deps.db, ref, load)
}

import type Stripe from 'stripe'
import { z } from 'zod'
import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { StripePlanAction } from '../../mirror/resources/plan-resource.ts'
import { StripePriceAction } from '../../mirror/resources/price-resource.ts'
import { StripeProductAction } from '../../mirror/resources/product-resource.ts'
import type { Caller } from '../../shared/caller.ts'
import { AppError, afterWrite, invalidField } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { priceProblem, toStripeAmount } from '../../shared/money.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import { parseStripeObject } from '../../stripe/stripe-objects.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import { makeRecorded } from '../make-recorded.ts'
import { type MetadataChanges, toStripeMetadata } from '../metadata.ts'
import {
  getPlan,
  insertPlan,
  MAX_INTERVAL_COUNT,
  notePlanRequest,
  type Plan,
  type PlanRef,
  type PlanTerms,
  savePlanIds,
  savePlanRefusal,
  startNextPlanAttempt,
} from './plan-store.ts'

export type PlanInput = Omit<PlanTerms, 'currency'> & {
  name: string
  statementDescriptor: string | null
  metadata: { [key: string]: string }
}

/** Longer than a request with all its retries, so that the job usually has nothing to do. */
const FINISH_JOB_DELAY_MS = 60_000

/**
 * Records a plan before the request is sent to Stripe. It also adds a job that repeats the request if
 * this process dies.
 *
 * @returns the plan's id.
 * @throws AppError `validation_failed` for a price that Stripe does not accept, `stripe_key_missing`.
 */
export async function beginPlan(trx: Tx, caller: Caller, input: PlanInput): Promise<string> {
  const { conferenceId } = caller
  const { currency, stripeKeySetAt } = await getConference(trx, conferenceId)
  if (stripeKeySetAt === null) {
    throw new AppError(
      'stripe_key_missing',
      'The conference has no Stripe key. An operator must set one.',
    )
  }
  const problem = priceProblem(input.amount, currency)
  if (problem !== null) throw invalidField('/amount', problem)
  const longest = MAX_INTERVAL_COUNT[input.interval]
  if (input.intervalCount > longest) {
    throw invalidField(
      '/interval_count',
      `must be at most ${longest} for this interval: Stripe allows at most three years`,
    )
  }
  const id = newId('plan')
  await insertPlan(trx, { ...input, id, conferenceId, currency, createdBy: caller.actor.id })
  await addJob(
    trx,
    'finish_plan',
    { conference_id: conferenceId, id },
    { runAt: new Date(Date.now() + FINISH_JOB_DELAY_MS) },
  )
  return id
}

/**
 * Creates a recorded plan at Stripe. It may be repeated and may run concurrently: Stripe creates one
 * product with one price.
 *
 * @throws AppError `not_found`, `stripe_refused`, `stripe_key_rejected`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishPlan(deps: BillingDeps, ref: PlanRef): Promise<Plan> {
  const load = () => withTenant(deps.db, ref, (trx) => getPlan(trx, ref))
  const plan = await load()
  if (plan.state === 'refused') throw refused(plan.refusal)
  if (plan.state === 'requested') {
    const stripe = await deps.clients.forConference(ref.conferenceId)
    const outcome = await makeRecorded(deps.db, ref, {
      noteRequest: (trx) => notePlanRequest(trx, ref),
      send: async (options) => toIds(await stripe.products.create(productParams(plan), options)),
      find: async () => {
        const product = await fetchOrNull(() => stripe.products.retrieve(plan.id))
        return product === null ? null : toIds(product)
      },
      saveMade: (trx, ids) => savePlanIds(trx, ref, ids),
      saveRefusal: (trx, message) => savePlanRefusal(trx, ref, message),
      renewKey: (trx) => startNextPlanAttempt(trx, ref),
    })
    if (outcome.kind === 'refused') throw refused(outcome.message)
  }
  const created = await load()
  if (created.mirrored) return created
  await afterWrite(() => refreshPlanMirror(deps, created))
  return load()
}

function refused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the plan.')
}

const productObject = z.object({
  id: z.string().min(1),
  default_price: z.union([z.string(), z.object({ id: z.string() }).transform(({ id }) => id)]),
})

/**
 * One request creates both product and price, so that neither exists without the other. The product has
 * the plan's id, so a late repeat cannot create a second one.
 *
 * The trial is not part of the price: each subscription sets it.
 *
 * @see https://docs.stripe.com/api/products/create
 */
function productParams(plan: Plan): Stripe.ProductCreateParams {
  const own = { conference_id: plan.conferenceId, plan_id: plan.id }
  return {
    id: plan.id,
    name: plan.name,
    ...(plan.statementDescriptor === null
      ? {}
      : { statement_descriptor: plan.statementDescriptor }),
    metadata: { ...plan.metadata, ...own },
    default_price_data: {
      currency: plan.currency.toLowerCase(),
      unit_amount: toStripeAmount(plan.amount, plan.currency),
      recurring: { interval: plan.interval, interval_count: plan.intervalCount },
      metadata: own,
    },
  }
}

function toIds(response: unknown): { productId: string; priceId: string } {
  const product = parseStripeObject(productObject, response, 'product with a price')
  return { productId: product.id, priceId: product.default_price }
}

export type PlanChanges = {
  name?: string | undefined
  statementDescriptor?: string | undefined
  metadata?: MetadataChanges | undefined
  active?: boolean | undefined
}

/** @throws AppError `not_found`, `wrong_state` for one that does not exist at Stripe. */
export async function getChangeablePlan(trx: Tx, ref: PlanRef): Promise<Plan> {
  const plan = await getPlan(trx, ref)
  if (plan.state === 'created') return plan
  throw new AppError(
    'wrong_state',
    `The plan does not exist at Stripe: its state is ${plan.state}.`,
    {
      extra: { state_now: plan.state },
    },
  )
}

/**
 * Changes the plan at Stripe and refreshes the mirror. Archiving a plan archives its product, because
 * Stripe does not archive a product's default price. Existing subscriptions keep the plan.
 *
 * @throws AppError `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function changePlan(
  deps: BillingDeps,
  ref: PlanRef,
  { name, statementDescriptor: descriptor, metadata, active }: PlanChanges,
): Promise<Plan> {
  const load = (trx: Tx) => getChangeablePlan(trx, ref)
  const plan = await withTenant(deps.db, ref, load)
  const { productId, priceId } = plan
  if (productId === null || priceId === null) throw new Error(`Plan ${plan.id} has no ids`)
  const stripe = await deps.clients.forConference(ref.conferenceId)
  await callStripe(async () => {
    // A price that was archived in the dashboard would keep the plan inactive.
    if (active === true) await stripe.prices.update(priceId, { active })
    await stripe.products.update(productId, {
      ...(name === undefined ? {} : { name }),
      ...(descriptor === undefined ? {} : { statement_descriptor: descriptor }),
      ...(active === undefined ? {} : { active }),
      ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
    })
  })
  await afterWrite(() => refreshPlanMirror(deps, plan))
  return withTenant(deps.db, ref, load)
}

/**
 * Fetches the plan's objects from Stripe into the mirror. The response of the create or update request is
 * not used, because Stripe may have replayed it from an earlier request.
 *
 * @throws AppError `stripe_…`
 */
async function refreshPlanMirror(
  deps: BillingDeps,
  { conferenceId, productId, priceId }: Pick<Plan, 'conferenceId' | 'productId' | 'priceId'>,
): Promise<void> {
  const context = mirrorContext(deps, conferenceId)
  await callStripe(() =>
    Promise.all([
      productId === null ? null : new StripeProductAction(context).refresh(productId),
      // At Stripe, each recurring price is also a plan with the same id.
      priceId === null ? null : new StripePriceAction(context).refresh(priceId),
      priceId === null ? null : new StripePlanAction(context).refresh(priceId),
    ]),
  )
}

import Stripe from 'stripe'
import { z } from 'zod'
import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { StripePlanAction } from '../../mirror/resources/plan-resource.ts'
import { StripePriceAction } from '../../mirror/resources/price-resource.ts'
import { StripeProductAction } from '../../mirror/resources/product-resource.ts'
import type { Caller } from '../../shared/caller.ts'
import { AppError, invalidField } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { priceProblem, toStripeAmount } from '../../shared/money.ts'
import {
  callStripe,
  fetchOrNull,
  isRefusal,
  isStoredError,
  refusalMessage,
  toAppError,
} from '../../stripe/stripe-errors.ts'
import { parseStripeObject } from '../../stripe/stripe-objects.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import { type MetadataChanges, toStripeMetadata } from '../metadata.ts'
import {
  getPlan,
  insertPlan,
  MAX_INTERVAL_COUNT,
  type Plan,
  type PlanRef,
  type PlanTerms,
  savePlanIds,
  savePlanRefusal,
  startNextPlanAttempt,
} from './plan-store.ts'

export type PlanInput = Omit<PlanTerms, 'currency'> & {
  name: string
  metadata: { [key: string]: string }
}

/** Longer than a request may take with all its retries, so that the job finds it done as a rule. */
const FINISH_JOB_DELAY_MS = 60_000

/**
 * Writes a plan down before Stripe is asked for it, and asks for the job that asks again should
 * this process die.
 *
 * @returns the plan's id.
 * @throws AppError `validation_failed` for what Stripe could not take, `stripe_key_missing`.
 */
export async function beginPlan(trx: Tx, caller: Caller, input: PlanInput): Promise<string> {
  const { conferenceId } = caller
  const { currency, stripeKeySetAt } = await getConference(trx, conferenceId)
  if (stripeKeySetAt === null) {
    throw new AppError('stripe_key_missing', 'The conference has no Stripe key yet.')
  }
  const problem = priceProblem(input.amount, currency)
  if (problem !== null) throw invalidField('/amount', problem)
  const longest = MAX_INTERVAL_COUNT[input.interval]
  if (input.intervalCount > longest) {
    throw invalidField(
      '/interval_count',
      `must be at most ${longest} for this interval: Stripe takes no more than three years`,
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
 * Makes a plan at Stripe that is written down here. May be repeated and run beside itself: Stripe
 * makes one product with one price.
 *
 * @throws AppError `not_found`, `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishPlan(deps: BillingDeps, ref: PlanRef): Promise<Plan> {
  const load = () => withTenant(deps.db, ref, (trx) => getPlan(trx, ref))
  let plan = await load()
  if (plan.state === 'refused') throw refused(plan.refusal)
  if (plan.state === 'created' && plan.mirrored) return plan
  for (let tries = 1; plan.state === 'requested'; tries += 1) {
    const ordered = await createPlanAtStripe(
      await deps.clients.forConference(ref.conferenceId),
      plan,
    )
    const { attempt } = plan
    await withTenant(deps.db, ref, (trx) => saveCreation(trx, ref, attempt, ordered))
    if (ordered.kind === 'refused') throw refused(ordered.message)
    if (ordered.kind === 'stored_error' && tries === 2) {
      throw new AppError('stripe_failed', ordered.message, { retryAfterSeconds: 2 })
    }
    plan = await load()
  }
  await refreshPlanMirror(deps, plan)
  return load()
}

function saveCreation(
  trx: Tx,
  ref: PlanRef,
  attempt: number,
  ordered: PlanCreation,
): Promise<void> {
  switch (ordered.kind) {
    case 'created':
      return savePlanIds(trx, ref, ordered)
    case 'refused':
      return savePlanRefusal(trx, ref, ordered.message)
    case 'stored_error':
      return startNextPlanAttempt(trx, ref, attempt)
  }
}

function refused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the plan.')
}

type PlanCreation =
  | { kind: 'created'; productId: string; priceId: string }
  /** Stripe will not make it, whenever it is asked. */
  | { kind: 'refused'; message: string }
  /** Stripe keeps an error under the attempt's key and has made nothing. */
  | { kind: 'stored_error'; message: string }

const productObject = z.object({
  id: z.string().min(1),
  default_price: z.union([z.string(), z.object({ id: z.string() }).transform(({ id }) => id)]),
})

/**
 * Product and price come from one request, so that there is never one without the other. The
 * product's id is the plan's: a second one cannot be made, however long ago the first was.
 *
 * The trial is no part of the price: Stripe wants it from each subscription.
 *
 * @see https://docs.stripe.com/api/products/create
 */
function productParams(plan: Plan): Stripe.ProductCreateParams {
  const own = { conference_id: plan.conferenceId, plan_id: plan.id }
  return {
    id: plan.id,
    name: plan.name,
    metadata: { ...plan.metadata, ...own },
    default_price_data: {
      currency: plan.currency.toLowerCase(),
      unit_amount: toStripeAmount(plan.amount, plan.currency),
      recurring: { interval: plan.interval, interval_count: plan.intervalCount },
      metadata: own,
    },
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof Stripe.errors.StripeError && error.code === 'resource_already_exists'
}

/** Makes the plan at Stripe, or finds the one that an earlier try made. @throws AppError `stripe_…` */
async function createPlanAtStripe(stripe: Stripe, plan: Plan): Promise<PlanCreation> {
  const idempotencyKey = `plan:${plan.id}:create:${plan.attempt}`
  try {
    return created(await stripe.products.create(productParams(plan), { idempotencyKey }))
  } catch (error) {
    if (isTaken(error) || isStoredError(error)) {
      const product = await fetchOrNull(() => stripe.products.retrieve(plan.id))
      if (product !== null) return created(product)
      if (isStoredError(error)) return { kind: 'stored_error', message: refusalMessage(error) }
    }
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

function created(answer: unknown): PlanCreation {
  const { id, default_price: priceId } = parseStripeObject(
    productObject,
    answer,
    'product with a price',
  )
  return { kind: 'created', productId: id, priceId }
}

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
  await callStripe(async () => {
    // One that was archived by hand would keep the plan from being offered again.
    if (active === true) await stripe.prices.update(priceId, { active })
    await stripe.products.update(productId, {
      ...(name === undefined ? {} : { name }),
      ...(active === undefined ? {} : { active }),
      ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
    })
  })
  await refreshPlanMirror(deps, plan)
  return withTenant(deps.db, ref, load)
}

/**
 * Reads the plan's objects from Stripe into the mirror. Read anew, since what a request returned may
 * be an answer that Stripe kept from an earlier try.
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
      // Each recurring price is a plan as well, under the same id.
      priceId === null ? null : new StripePriceAction(context).refresh(priceId),
      priceId === null ? null : new StripePlanAction(context).refresh(priceId),
    ]),
  )
}

import { getConference } from '../../../conferences/conference-store.ts'
import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { Caller } from '../../../http/caller.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { AppError, invalidField } from '../../../shared/errors.ts'
import { newId } from '../../../shared/ids.ts'
import { priceProblem } from '../../../shared/money.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { mirrorPlan } from './mirror-plan.ts'
import { orderPlan, type PlanOrdered } from './order-plan.ts'
import { LONGEST_INTERVAL, type Plan, type PlanRef, type PlanTerms } from './plan.ts'
import {
  getPlan,
  giveUpPlanAttempt,
  insertPlan,
  savePlanIds,
  savePlanRefusal,
} from './plan-store.ts'

export type PlanInput = Omit<PlanTerms, 'currency'> & {
  name: string
  metadata: { [key: string]: string }
}

/** Longer than a request may take with all its retries, so that the job finds it done as a rule. */
const LOOK_AFTER_MS = 60_000

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
  const longest = LONGEST_INTERVAL[input.interval]
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
    { runAt: new Date(Date.now() + LOOK_AFTER_MS) },
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
    const ordered = await orderPlan(await deps.clients.forConference(ref.conferenceId), plan)
    const { attempt } = plan
    await withTenant(deps.db, ref, (trx) => save(trx, ref, attempt, ordered))
    if (ordered.kind === 'refused') throw refused(ordered.message)
    if (ordered.kind === 'stored_error' && tries === 2) {
      throw new AppError('stripe_failed', ordered.message, { retryAfterSeconds: 2 })
    }
    plan = await load()
  }
  await mirrorPlan(deps, plan)
  return load()
}

function save(trx: Tx, ref: PlanRef, attempt: number, ordered: PlanOrdered): Promise<void> {
  switch (ordered.kind) {
    case 'created':
      return savePlanIds(trx, ref, ordered)
    case 'refused':
      return savePlanRefusal(trx, ref, ordered.message)
    case 'stored_error':
      return giveUpPlanAttempt(trx, ref, attempt)
  }
}

function refused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the plan.')
}

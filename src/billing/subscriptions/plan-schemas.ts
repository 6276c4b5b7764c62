import { z } from 'zod'
import { amount, conferenceParams, flag, id, pageOf, pageQuery } from '../../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import { metadataChanges, metadataInput } from '../metadata.ts'
import { CREATION_STATES, INTERVALS, type Plan } from './plan-store.ts'
import type { PlanInput } from './write-plan.ts'

export const planParams = conferenceParams.extend({ plan: id })

/** Of plans and subscriptions. */
export const creationState = z.enum(CREATION_STATES).meta({
  id: 'CreationState',
  description:
    '`requested`: Stripe has not confirmed the creation yet; it is retried. `refused`: see `failure`.',
})

const name = z.string().trim().min(1).max(200)

// https://docs.stripe.com/api/products/create#create_product-statement_descriptor
const statementDescriptor = z
  .string()
  .trim()
  .regex(
    /^(?=.*[A-Za-z])[^<>\\'"*]{1,22}$/,
    'must be 1 to 22 characters with a letter and without < > \\ \' " *',
  )
  .meta({ maxLength: 22, description: 'What subscribers read on their bank statements.' })

export const createPlanBody = z
  .strictObject({
    name,
    amount: amount.meta({ description: "Integer minor units of the conference's currency." }),
    interval: z.enum(INTERVALS),
    interval_count: z
      .int()
      .min(1)
      .max(1_095)
      .default(1)
      .meta({ description: 'Number of intervals between two payments. At most three years.' }),
    trial_period_days: z
      .int()
      .min(0)
      .max(730)
      .default(0)
      .meta({ description: 'Trial days before the first payment.' }),
    statement_descriptor: statementDescriptor.optional(),
    metadata: metadataInput.default({}),
  })
  .meta({ id: 'CreatePlan' })

export const updatePlanBody = z
  .strictObject({
    name,
    statement_descriptor: statementDescriptor,
    metadata: metadataChanges,
    active: z.boolean(),
  })
  .partial()
  .meta({ id: 'UpdatePlan' })

export const listPlansQuery = z.strictObject({
  active: flag
    .optional()
    .meta({ description: 'Only plans that new subscriptions can (true) or cannot (false) use.' }),
  ...pageQuery,
})

export const planSchema = z
  .object({
    id: z.string(),
    object: z.literal('plan'),
    name: z.string(),
    amount: z.int(),
    currency: z.string(),
    interval: z.enum(INTERVALS),
    interval_count: z.int(),
    trial_period_days: z.int(),
    statement_descriptor: z.string().nullable(),
    metadata: z.record(z.string(), z.string()),
    active: z.boolean().meta({ description: 'New subscriptions can use the plan.' }),
    state: creationState,
    failure: z.object({ message: z.string() }).nullable(),
    stripe_product: z.string().nullable(),
    stripe_price: z.string().nullable(),
    created_by: z.string(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Plan' })

export const planPage = pageOf(planSchema).meta({ id: 'PlanPage' })

/** The plan that a request of the API or the CLI orders. */
export function toPlanInput(body: z.output<typeof createPlanBody>): PlanInput {
  const { interval_count, trial_period_days, statement_descriptor, ...rest } = body
  return {
    ...rest,
    intervalCount: interval_count,
    trialPeriodDays: trial_period_days,
    statementDescriptor: statement_descriptor ?? null,
  }
}

export function toPlanBody(plan: Plan): z.output<typeof planSchema> {
  return {
    id: plan.id,
    object: 'plan',
    name: plan.name,
    amount: plan.amount,
    currency: plan.currency,
    interval: plan.interval,
    interval_count: plan.intervalCount,
    trial_period_days: plan.trialPeriodDays,
    statement_descriptor: plan.statementDescriptor,
    metadata: plan.metadata,
    active: plan.active,
    state: plan.state,
    failure: plan.refusal === null ? null : { message: plan.refusal },
    stripe_product: plan.productId,
    stripe_price: plan.priceId,
    created_by: plan.createdBy,
    created_at: toTimestamp(plan.createdAt),
    updated_at: toTimestamp(plan.updatedAt),
  }
}

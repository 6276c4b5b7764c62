import type { Tx } from '../../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../../db/pages.ts'
import { notFound } from '../../shared/errors.ts'
import { callerMetadata } from '../metadata.ts'

/** The creation at Stripe of a plan or subscription: requested, created, or finally refused. */
export const CREATION_STATES = ['requested', 'created', 'refused'] as const

export type CreationState = (typeof CREATION_STATES)[number]

export const INTERVALS = ['day', 'week', 'month', 'year'] as const

export type Interval = (typeof INTERVALS)[number]

/**
 * Stripe's limit of three years between two payments, in units of each interval.
 *
 * @see https://docs.stripe.com/api/prices/create#create_price-recurring-interval_count
 */
export const MAX_INTERVAL_COUNT: Record<Interval, number> = {
  day: 1095,
  week: 156,
  month: 36,
  year: 3,
}

/** What a subscriber of a plan pays and when. It never changes, because Stripe does not change prices. */
export type PlanTerms = {
  /** Integer minor units of the currency. */
  amount: number
  /** Upper-case ISO 4217. */
  currency: string
  interval: Interval
  intervalCount: number
  /** Days before the first payment. */
  trialPeriodDays: number
}

/** A plan: the mirror's latest values, or the requested ones until Stripe has created it. */
export type Plan = PlanTerms & {
  id: string
  conferenceId: string
  name: string
  /** Null: Stripe uses the account's. */
  statementDescriptor: string | null
  metadata: { [key: string]: string }
  state: CreationState
  /** New subscriptions can use the plan. False when it is archived or deleted at Stripe. */
  active: boolean
  /** The mirror has the plan's product and price. */
  mirrored: boolean
  productId: string | null
  priceId: string | null
  /** The reason of Stripe's refusal, in Stripe's words. */
  refusal: string | null
  createdBy: string
  createdAt: Date
  updatedAt: Date
}

export type PlanRef = { conferenceId: string; planId: string }

type PlanRow = {
  id: string
  conference_id: string
  name: string
  statement_descriptor: string | null
  amount: number
  currency: string
  interval: Interval
  interval_count: number
  trial_period_days: number
  metadata: { [key: string]: string }
  state: CreationState
  active: boolean
  mirrored: boolean
  product_id: string | null
  price_id: string | null
  refusal: string | null
  created_by: string
  created_at: Date
  updated_at: Date
}

// Name, metadata and `active` come from the mirror. Until the mirror has the objects, they are as we
// requested them.
const ACTIVE = `(plan.state = 'created'
  and coalesce(product.active, true) and product.deleted_at is null
  and coalesce(price.active, true) and price.deleted_at is null)`

function plansOf(trx: Tx, conferenceId: string) {
  return trx('billing_plans as plan')
    .joinRaw(
      `left join stripe.products as product
         on product.conference_id = plan.conference_id and product.id = plan.product_id
       left join stripe.prices as price
         on price.conference_id = plan.conference_id and price.id = plan.price_id`,
    )
    .where('plan.conference_id', conferenceId)
    .select(
      'plan.*',
      trx.raw('coalesce(product.name, plan.name) as name'),
      trx.raw(
        `case when product.id is null then plan.statement_descriptor
           else product.statement_descriptor end as statement_descriptor`,
      ),
      trx.raw('coalesce(product.metadata, plan.metadata) as metadata'),
      trx.raw(`${ACTIVE} as active`),
      trx.raw('(product.id is not null and price.id is not null) as mirrored'),
    )
}

function toPlan(row: PlanRow): Plan {
  return {
    id: row.id,
    conferenceId: row.conference_id,
    name: row.name,
    statementDescriptor: row.statement_descriptor,
    amount: row.amount,
    currency: row.currency,
    interval: row.interval,
    intervalCount: row.interval_count,
    trialPeriodDays: row.trial_period_days,
    metadata: callerMetadata(row.metadata),
    state: row.state,
    active: row.active,
    mirrored: row.mirrored,
    productId: row.product_id,
    priceId: row.price_id,
    refusal: row.refusal,
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

export type NewPlan = PlanTerms & {
  id: string
  conferenceId: string
  name: string
  statementDescriptor: string | null
  metadata: { [key: string]: string }
  createdBy: string
}

export async function insertPlan(trx: Tx, plan: NewPlan): Promise<void> {
  await trx('billing_plans').insert({
    conference_id: plan.conferenceId,
    id: plan.id,
    name: plan.name,
    statement_descriptor: plan.statementDescriptor,
    amount: plan.amount,
    currency: plan.currency,
    interval: plan.interval,
    interval_count: plan.intervalCount,
    trial_period_days: plan.trialPeriodDays,
    metadata: JSON.stringify(plan.metadata),
    created_by: plan.createdBy,
  })
}

/** @throws AppError `not_found` */
export async function getPlan(trx: Tx, { conferenceId, planId }: PlanRef): Promise<Plan> {
  const [plan] = await findPlans(trx, conferenceId, [planId])
  if (plan === undefined) throw notFound('plan')
  return plan
}

/** The plans of the conference among these ids, in no order. */
export async function findPlans(
  trx: Tx,
  conferenceId: string,
  ids: readonly string[],
): Promise<Plan[]> {
  const rows = await plansOf(trx, conferenceId).whereIn('plan.id', [...ids])
  return rows.map((row) => toPlan(row as PlanRow)) // its columns are those selected above
}

/** A page of plans, newest first. `active` selects plans that new subscriptions can, or cannot, use. */
export async function listPlans(
  trx: Tx,
  conferenceId: string,
  { active }: { active?: boolean | undefined },
  page: PageQuery,
): Promise<Page<Plan>> {
  const query = plansOf(trx, conferenceId)
  if (active !== undefined) void query.whereRaw(`${ACTIVE} is ?`, [trx.raw(String(active))])
  const columns = { at: 'plan.created_at', id: 'plan.id' }
  return mapPage(await fetchPage<PlanRow>(query, page, columns), toPlan)
}

const planRow = (trx: Tx, { conferenceId, planId }: PlanRef) =>
  trx('billing_plans').where({ conference_id: conferenceId, id: planId })

/** Notes that the creation request is sent now. */
export async function notePlanRequest(
  trx: Tx,
  ref: PlanRef,
): Promise<{ idempotencyKey: string; askedBefore: boolean }> {
  const row = await planRow(trx, ref)
    .forUpdate()
    .first<{ attempt: number; tried_at: Date | null } | undefined>('attempt', 'tried_at')
  if (row === undefined) throw notFound('plan')
  await planRow(trx, ref).update({ tried_at: trx.fn.now() })
  return {
    idempotencyKey: `plan:${ref.planId}:create:${row.attempt}`,
    askedBefore: row.tried_at !== null,
  }
}

/** Saves the ids of the created plan, even when another request was refused. */
export async function savePlanIds(
  trx: Tx,
  ref: PlanRef,
  ids: { productId: string; priceId: string },
): Promise<void> {
  await planRow(trx, ref).whereNot('state', 'created').update({
    state: 'created',
    product_id: ids.productId,
    price_id: ids.priceId,
    refusal: null,
    updated_at: trx.fn.now(),
  })
}

export async function savePlanRefusal(trx: Tx, ref: PlanRef, refusal: string): Promise<void> {
  await planRow(trx, ref)
    .where({ state: 'requested' })
    .update({ state: 'refused', refusal, updated_at: trx.fn.now() })
}

/** Stripe stored an error under the attempt's key, so the next request needs a new key. */
export async function startNextPlanAttempt(trx: Tx, ref: PlanRef): Promise<void> {
  await planRow(trx, ref)
    .where({ state: 'requested' })
    .update({ attempt: trx.raw('attempt + 1'), updated_at: trx.fn.now() })
}

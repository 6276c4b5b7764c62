import type { Knex } from 'knex'
import type { Tx } from '../db/connect.ts'
import { addJob, pendingJob, sweepAlone } from '../jobs/job-queue.ts'

const MAX_JOBS = 500

/** Longer than a request with all its retries: what is younger may still be running. */
const MIN_AGE_SECONDS = 60

/**
 * What nothing could finish for a week is for staff to decide: to charge a subscription or change a coupon
 * weeks after its request would surprise everybody.
 */
const MAX_AGE_DAYS = 7

/**
 * Adds a job for everything of billing whose outcome at Stripe has been unknown for longer than
 * `afterSeconds`: plans, subscriptions, coupons, promotion codes and customers.
 *
 * @param trx - of a system task: it searches all conferences.
 */
export async function sweepBilling(trx: Tx, afterSeconds: number): Promise<{ billing: number }> {
  await sweepAlone(trx)
  const unfinished = (table: string, job: string) =>
    trx(`${table} as own`)
      .where('own.state', 'requested')
      .modify(olderThan, afterSeconds)
      .whereNotExists(pendingJob(trx, `'${job}:' || own.id`))
      .limit(MAX_JOBS)
      .select<{ conference_id: string; id: string }[]>('own.conference_id', 'own.id')
  const plans = await unfinished('billing_plans', 'finish_plan')
  for (const plan of plans) await addJob(trx, 'finish_plan', plan)
  const subscriptions = await unfinished('subscriptions', 'finish_subscription')
  for (const one of subscriptions) await addJob(trx, 'finish_subscription', one)
  const changes = await unfinished('discount_changes', 'finish_discount_change')
  for (const change of changes) await addJob(trx, 'finish_discount_change', change)
  const customers = await trx('customers as own')
    .whereNull('own.stripe_customer_id')
    .whereNotNull('own.tried_at')
    .modify(olderThan, afterSeconds)
    .whereNotExists(pendingJob(trx, `'update_customer:' || own.sponsor_id`))
    .limit(MAX_JOBS)
    .select<{ conference_id: string; sponsor_id: string }[]>('own.conference_id', 'own.sponsor_id')
  for (const customer of customers) await addJob(trx, 'update_customer', customer)
  return { billing: plans.length + subscriptions.length + changes.length + customers.length }
}

function olderThan(query: Knex.QueryBuilder, afterSeconds: number): void {
  void query
    .whereRaw('own.updated_at < now() - make_interval(secs => ?)', [
      Math.max(afterSeconds, MIN_AGE_SECONDS),
    ])
    .whereRaw('own.updated_at > now() - make_interval(days => ?)', [MAX_AGE_DAYS])
}

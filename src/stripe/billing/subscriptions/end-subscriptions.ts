import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { cancelSubscription } from './cancel-subscription.ts'
import { TODAY } from './end-date.ts'
import { ENDED_STATUSES, type Subscription } from './subscription.ts'
import { noteCancelRequest } from './subscription-store.ts'

export type EndOptions = {
  conferenceId: string
  /** Instead of at the end of the period that is paid for. */
  now: boolean
  /** Whom the subscriptions name as who asked. */
  by: string
  /** Ends the work between two subscriptions. */
  signal: AbortSignal
}

export type Ended = { id: string; conferenceId: string } & (
  | { subscription: Subscription }
  | { error: unknown }
)

/**
 * Subscriptions whose day has come and that neither have ended nor will by themselves, the longest
 * due first. Whatever their status: one that is past due, or in its trial, is to end as well.
 */
export async function dueSubscriptions(
  trx: Tx,
  { conferenceId, now }: Pick<EndOptions, 'conferenceId' | 'now'>,
): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { id: string }[] }>(
    `select own.id from subscriptions own
       left join stripe.subscriptions mirrored
         on mirrored.conference_id = own.conference_id
         and mirrored.id = own.stripe_subscription_id
      where own.conference_id = ? and own.state = 'created' and own.end_date <= ${TODAY}
        and mirrored.deleted_at is null and coalesce(mirrored.status, '') <> all (?)
        and (? or not coalesce(mirrored.cancel_at_period_end, false))
      order by own.end_date, own.created_at, own.id`,
    [conferenceId, [...ENDED_STATUSES], now],
  )
  return rows.map(({ id }) => id)
}

/**
 * Cancels what is due in one conference. One that fails does not keep the others from it; two of
 * these at once do no harm.
 */
export async function endSubscriptions(deps: BillingDeps, options: EndOptions): Promise<Ended[]> {
  const { conferenceId, signal } = options
  const due = await withTenant(deps.db, { conferenceId }, (trx) => dueSubscriptions(trx, options))
  const ended: Ended[] = []
  for (const id of due) {
    if (signal.aborted) break
    const one = { id, conferenceId }
    try {
      ended.push({ ...one, subscription: await endOne(deps, one, options) })
    } catch (error) {
      ended.push({ ...one, error })
    }
  }
  return ended
}

/** Cancels one that is due. @throws AppError `not_found`, `wrong_state`, `stripe_…` */
export async function endOne(
  deps: BillingDeps,
  { id, conferenceId }: { id: string; conferenceId: string },
  { now, by }: Pick<EndOptions, 'now' | 'by'>,
): Promise<Subscription> {
  const ref = { conferenceId, subscriptionId: id }
  await withTenant(deps.db, ref, (trx) => noteCancelRequest(trx, ref, by))
  return cancelSubscription(deps, ref, { atPeriodEnd: !now })
}

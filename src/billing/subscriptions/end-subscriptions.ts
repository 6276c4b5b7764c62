import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { errorText } from '../../stripe/stripe-errors.ts'
import { rateLimitWaitOf } from '../../stripe/wait-for-rate-limit.ts'
import type { BillingDeps } from '../billing-deps.ts'
import { cancelSubscription } from './change-subscription.ts'
import { ENDED_STATUSES, type Subscription } from './subscription.ts'
import { recordCancelRequest, TODAY } from './subscription-store.ts'

/** Recorded on subscriptions as who requested the cancellation. */
const REQUESTED_BY = 'end_subscriptions'

/**
 * The job of the timer: cancels a conference's due subscriptions at the end of their periods.
 *
 * @throws Error when some could not be cancelled, after all others were; then the job is retried.
 */
export async function endDueSubscriptions(
  deps: BillingDeps,
  conferenceId: string,
  signal: AbortSignal,
): Promise<void> {
  const { clients, logger } = deps
  // Background requests, which wait for the account's rate limit.
  const backgroundDeps = {
    ...deps,
    clients: { ...clients, connect: (id: string) => clients.background(id) },
  }
  const ended = await endSubscriptions(backgroundDeps, {
    conferenceId,
    now: false,
    by: REQUESTED_BY,
    signal,
  })
  const failed = ended.flatMap((one) => ('error' in one ? [one] : []))
  for (const { id, error } of failed) {
    logger.warn(
      { conference: conferenceId, subscription: id, error: errorText(error) },
      'could not cancel a subscription that reached its end date',
    )
  }
  if (ended.length > 0) {
    const counts = { ended: ended.length - failed.length, failed: failed.length }
    logger.info({ conference: conferenceId, ...counts }, 'cancelled the due subscriptions')
  }
  const [first] = failed
  if (first !== undefined) {
    const message = `${failed.length} of ${ended.length} subscriptions could not be cancelled`
    // A rejected Stripe key fails all of them, a long rate limit the last one. Either must be the cause.
    const last = ended.at(-1)
    const waits = last !== undefined && 'error' in last && rateLimitWaitOf(last.error) !== null
    throw new Error(message, { cause: waits ? last.error : first.error })
  }
}

export type EndOptions = {
  conferenceId: string
  /** Cancel now instead of at the end of the paid period. */
  now: boolean
  /** Recorded on the subscriptions as who requested the cancellation. */
  by: string
  /** Stops the run between two subscriptions. */
  signal: AbortSignal
}

export type EndResult = { id: string; conferenceId: string } & (
  | { subscription: Subscription }
  | { error: unknown }
)

/**
 * Subscriptions that reached their end date, have not ended and do not end with their period already,
 * longest due first. All statuses count: a past due subscription and one in its trial end as well.
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
 * Cancels the due subscriptions of a conference. A failure does not stop the others, unless it is a long
 * wait for the account's rate limit. Concurrent runs are safe.
 */
export async function endSubscriptions(
  deps: BillingDeps,
  options: EndOptions,
): Promise<EndResult[]> {
  const { conferenceId, signal } = options
  const due = await withTenant(deps.db, { conferenceId }, (trx) => dueSubscriptions(trx, options))
  const ended: EndResult[] = []
  for (const id of due) {
    if (signal.aborted) break
    const one = { id, conferenceId }
    try {
      ended.push({ ...one, subscription: await endSubscription(deps, one, options) })
    } catch (error) {
      ended.push({ ...one, error })
      if (rateLimitWaitOf(error) !== null) break
    }
  }
  return ended
}

/** Cancels a due subscription. @throws AppError `not_found`, `wrong_state`, `stripe_…` */
export async function endSubscription(
  deps: BillingDeps,
  { id, conferenceId }: { id: string; conferenceId: string },
  { now, by }: Pick<EndOptions, 'now' | 'by'>,
): Promise<Subscription> {
  const ref = { conferenceId, subscriptionId: id }
  await withTenant(deps.db, ref, (trx) => recordCancelRequest(trx, ref, by))
  return cancelSubscription(deps, ref, { atPeriodEnd: !now })
}

/** The ids of the conferences that have a subscription whose end date has come. */
export async function conferencesWithDueSubscriptions(trx: Tx): Promise<string[]> {
  const rows = await trx('subscriptions as own')
    .where('own.state', 'created')
    .whereRaw(`own.end_date <= ${TODAY}`)
    // A subscription that has ended, or is set to end, stays due but needs no job.
    .whereNotExists(
      trx('stripe.subscriptions as mirrored')
        .whereRaw('mirrored.conference_id = own.conference_id')
        .whereRaw('mirrored.id = own.stripe_subscription_id')
        .whereRaw(
          `(mirrored.deleted_at is not null or mirrored.cancel_at_period_end
            or mirrored.status in ('canceled', 'incomplete_expired'))`,
        ),
    )
    .distinct<{ conference_id: string }[]>('own.conference_id')
  return rows.map((row) => row.conference_id)
}

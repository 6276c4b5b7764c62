import type { Config } from '../config.ts'
import type { Tx } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import { addJob } from './add-job.ts'
import { beatSeconds, releaseDeadWorkers } from './heartbeat.ts'
import type { Timer } from './timers.ts'

export type TimerSettings = Pick<
  Config,
  'leaseSeconds' | 'reconcileAfterSeconds' | 'missedEventsEverySeconds' | 'stripeSyncEverySeconds'
>

const PRUNE_SECONDS = 3_600

// A listing of at most a thousand codes a batch, ten requests, for numbers that people look at.
const PUBLISHED_SECONDS = 300

// Days are what ends, and nobody waits for the minute.
const END_SUBSCRIPTIONS_SECONDS = 3_600

/**
 * A quarter of the time after which a purchase counts as waiting, so that it waits at most a quarter
 * longer; but not so often that the sweeps themselves are work, nor so rarely that a person notices.
 */
function sweepSeconds(reconcileAfterSeconds: number): number {
  return Math.min(30, Math.max(1, reconcileAfterSeconds / 4))
}

/** Everything that this service does by the clock. */
export function serviceTimers(settings: TimerSettings, logger: Logger): Timer[] {
  return [
    {
      name: 'sweep_purchases',
      everySeconds: sweepSeconds(settings.reconcileAfterSeconds),
      fire: (trx) => addJob(trx, 'sweep_purchases', {}),
    },
    {
      name: 'find_missed_events',
      everySeconds: settings.missedEventsEverySeconds,
      fire: (trx) => forEachAccount(trx, 'find_missed_events'),
    },
    {
      name: 'read_published_vouchers',
      everySeconds: PUBLISHED_SECONDS,
      fire: readPublished,
    },
    ...syncTimer(settings),
    {
      name: 'end_subscriptions',
      everySeconds: END_SUBSCRIPTIONS_SECONDS,
      fire: addEnds,
    },
    {
      name: 'prune',
      everySeconds: PRUNE_SECONDS,
      fire: (trx) => addJob(trx, 'prune', {}),
    },
    {
      // Not a job: it must also happen when every worker that is left is busy.
      name: 'release_dead_workers',
      everySeconds: beatSeconds(settings.leaseSeconds),
      async fire(trx) {
        const dead = await releaseDeadWorkers(trx, settings.leaseSeconds)
        if (dead.length > 0) logger.warn({ workers: dead }, 'took over the jobs of dead workers')
      },
    },
  ]
}

function syncTimer({ stripeSyncEverySeconds: everySeconds }: TimerSettings): Timer[] {
  if (everySeconds === null) return []
  const fire = (trx: Tx) => forEachAccount(trx, 'start_sync_runs')
  return [{ name: 'start_sync_runs', everySeconds, fire }]
}

/** A job for each conference that has subscriptions whose day has come. */
async function addEnds(trx: Tx): Promise<void> {
  const due = await trx('subscriptions as own')
    .join('conferences', 'conferences.id', 'own.conference_id')
    .whereNotNull('conferences.stripe_secret_key_sealed')
    .where('own.state', 'created')
    .whereRaw(`own.end_date <= (now() at time zone 'utc')::date`)
    // Those that have ended, or will by themselves, stay due for good and need no job.
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
  for (const conference of due) await addJob(trx, 'end_subscriptions', conference)
}

/** A job for each conference with published vouchers that can be used, or could until yesterday. */
async function readPublished(trx: Tx): Promise<void> {
  const conferences = await trx('voucher_publications')
    .join('conferences', 'conferences.id', 'conference_id')
    .whereNotNull('stripe_secret_key_sealed')
    .where('state', '<>', 'failed')
    .whereRaw(`(expires_at is null or expires_at > now() - interval '1 day')`)
    .distinct<{ conference_id: string }[]>('conference_id')
  for (const conference of conferences) await addJob(trx, 'read_published_vouchers', conference)
}

/** One job a conference, so that one with a wrong key or a slow account holds up no other. */
async function forEachAccount(
  trx: Tx,
  job: 'find_missed_events' | 'start_sync_runs',
): Promise<void> {
  const conferences = await trx('conferences')
    .whereNotNull('stripe_secret_key_sealed')
    .select<{ conference_id: string }[]>('id as conference_id')
  for (const conference of conferences) await addJob(trx, job, conference)
}

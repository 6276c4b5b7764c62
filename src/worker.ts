import { createSavedCards } from './billing/customers/saved-cards.ts'
import type { Config } from './config.ts'
import type { Db, Tx } from './db/connect.ts'
import { createJobHandlers, type JobHandlerDeps } from './job-handlers.ts'
import { beatSeconds, releaseDeadWorkers, startHeartbeat } from './jobs/heartbeat.ts'
import { type JobName, LONG_JOBS, OUTBOUND_JOBS } from './jobs/job-catalogue.ts'
import { addJob } from './jobs/job-queue.ts'
import { toTaskList } from './jobs/job-registry.ts'
import { runJobs } from './jobs/run-jobs.ts'
import { startTimers, type Timer } from './jobs/timers.ts'
import type { MirrorFeed } from './mirror/mirror-feed.ts'
import { createMailer } from './notifications/mailer.ts'
import type { PaymentGateway } from './payments/payment-gateway.ts'
import { createBulkPurchaseService } from './purchases/bulk-purchase-service.ts'
import type { Logger } from './shared/logger.ts'
import type { Clock } from './shared/time.ts'
import type { EventHook } from './stripe-events/event-hook.ts'
import { createEventWorker } from './stripe-events/event-worker.ts'

export type WorkerDeps = Omit<JobHandlerDeps, 'stopping' | 'purchases' | 'mailer'> & {
  config: Config
  connectionString: string
  /** A small pool for heartbeat and timers: a load of work must not make a living worker look dead. */
  upkeepDb: Db
  gateway: PaymentGateway
  clock: Clock
  mirrorFeed: MirrorFeed
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
  /** How long the work that runs may take to end once the process stops. Milliseconds. */
  drainMs: number
}

export type Worker = {
  /** Takes nothing new and waits for what runs. Returns whether all of it ended in time. */
  stop(): Promise<boolean>
}

const JOB_CONCURRENCY = 4

// Each is paced by its Stripe account's request budget anyway.
const LONG_JOB_CONCURRENCY = 3

// They only wait, and those of one receiver one after the other.
const OUTBOUND_JOB_CONCURRENCY = 8

const isQuick = (name: JobName) => !LONG_JOBS.has(name) && !OUTBOUND_JOBS.has(name)

// NOTIFY wakes a worker at once; polling finds what was given back, or whose NOTIFY was lost.
const MAX_POLL_MS = 1_000

/**
 * The working side of the service, composed and running: Stripe's events, jobs, timers, and the
 * heartbeat that tells others that its work is in living hands. The database must be prepared.
 */
export function startWorker(deps: WorkerDeps): Worker {
  const { config, connectionString, db, upkeepDb, logger, metrics } = deps
  const { leaseSeconds } = config
  const stopping = new AbortController()
  const mailer = createMailer(config.mail)
  const purchases = createBulkPurchaseService({
    ...deps,
    cards: createSavedCards(deps),
    email: { ...config, mailer, logger },
  })
  const registry = createJobHandlers({ ...deps, mailer, purchases, stopping: stopping.signal })
  const runners = [
    { takes: isQuick, concurrency: JOB_CONCURRENCY },
    { takes: (name: JobName) => LONG_JOBS.has(name), concurrency: LONG_JOB_CONCURRENCY },
    { takes: (name: JobName) => OUTBOUND_JOBS.has(name), concurrency: OUTBOUND_JOB_CONCURRENCY },
  ].map(({ takes, concurrency }) =>
    runJobs({
      connectionString,
      db,
      logger,
      tasks: toTaskList(new Map([...registry].filter(([name]) => takes(name))), {
        logger,
        metrics,
      }),
      concurrency,
      pollMs: Math.min(MAX_POLL_MS, leaseSeconds * 100),
      drainMs: deps.drainMs,
      onWorkersChanged: () => heartbeat.beat(),
    }),
  )
  const heartbeat = startHeartbeat({
    db: upkeepDb,
    logger,
    role: config.run,
    leaseSeconds,
    workerIds: () => runners.flatMap((runner) => runner.workerIds()),
  })
  const timers = startTimers({ db: upkeepDb, logger, timers: serviceTimers(config, logger) })
  // Apart, so that thousands of readings for the mirror never hold up a purchase.
  const events = (['purchase', 'mirror'] as const).map((lane) =>
    createEventWorker({ ...deps, purchases, leaseSeconds, lane }),
  )
  for (const worker of events) worker.start()
  return {
    async stop() {
      stopping.abort()
      await timers.stop()
      const [drained] = await Promise.all([
        Promise.all(runners.map((runner) => runner.stop())),
        ...events.map((worker) => worker.stop()),
      ])
      // Last: until then the work that still runs must not be taken over.
      await heartbeat.stop()
      return drained.every(Boolean)
    },
  }
}

export type TimerSettings = Pick<
  Config,
  'leaseSeconds' | 'reconcileAfterSeconds' | 'missedEventsEverySeconds' | 'stripeSyncEverySeconds'
>

const PRUNE_SECONDS = 3_600

// A listing of at most a thousand codes a batch, ten requests, for numbers that people look at.
const PUBLISHED_VOUCHERS_SECONDS = 300

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
      fire: (trx) => addJobForEachAccount(trx, 'find_missed_events'),
    },
    {
      name: 'read_published_vouchers',
      everySeconds: PUBLISHED_VOUCHERS_SECONDS,
      fire: addPublishedVoucherJobs,
    },
    ...syncTimer(settings),
    {
      name: 'end_subscriptions',
      everySeconds: END_SUBSCRIPTIONS_SECONDS,
      fire: addEndSubscriptionJobs,
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
  const fire = (trx: Tx) => addJobForEachAccount(trx, 'start_sync_runs')
  return [{ name: 'start_sync_runs', everySeconds, fire }]
}

/** A job for each conference that has subscriptions whose day has come. */
async function addEndSubscriptionJobs(trx: Tx): Promise<void> {
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
async function addPublishedVoucherJobs(trx: Tx): Promise<void> {
  const conferences = await trx('voucher_publications')
    .join('conferences', 'conferences.id', 'conference_id')
    .whereNotNull('stripe_secret_key_sealed')
    .where('state', '<>', 'failed')
    .whereRaw(`(expires_at is null or expires_at > now() - interval '1 day')`)
    .distinct<{ conference_id: string }[]>('conference_id')
  for (const conference of conferences) await addJob(trx, 'read_published_vouchers', conference)
}

/** One job a conference, so that one with a wrong key or a slow account holds up no other. */
async function addJobForEachAccount(
  trx: Tx,
  job: 'find_missed_events' | 'start_sync_runs',
): Promise<void> {
  const conferences = await trx('conferences')
    .whereNotNull('stripe_secret_key_sealed')
    .select<{ conference_id: string }[]>('id as conference_id')
  for (const conference of conferences) await addJob(trx, job, conference)
}

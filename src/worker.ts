import { createSavedCards } from './billing/customers/saved-cards.ts'
import { conferencesWithPublishedVouchers } from './billing/discounts/publish-batch.ts'
import { conferencesWithDueSubscriptions } from './billing/subscriptions/end-subscriptions.ts'
import { conferencesWithStripeKey } from './conferences/conference-store.ts'
import type { Config } from './config.ts'
import type { Db, Tx } from './db/connect.ts'
import { listenForWakeUps } from './db/wake-ups.ts'
import { createJobHandlers, type JobHandlerDeps } from './job-handlers.ts'
import { beatSeconds, releaseDeadWorkers, startHeartbeat } from './jobs/heartbeat.ts'
import { type JobLane, laneOf } from './jobs/job-catalogue.ts'
import { addJob, parkJob } from './jobs/job-queue.ts'
import { type ParkFailedJob, toTaskList } from './jobs/job-registry.ts'
import { createJobShares } from './jobs/job-shares.ts'
import { runJobs } from './jobs/run-jobs.ts'
import { startTimers, type Timer } from './jobs/timers.ts'
import type { MirrorFeed } from './mirror/mirror-feed.ts'
import { createMailer } from './notifications/mailer.ts'
import { createBulkPurchaseService } from './purchases/bulk-purchase-service.ts'
import type { Logger } from './shared/logger.ts'
import type { Tracer } from './shared/work-context.ts'
import { createKeyParking } from './stripe/wait-for-key.ts'
import { createRateLimitParking } from './stripe/wait-for-rate-limit.ts'
import type { EventHook } from './stripe-events/event-hook.ts'
import { createEventWorker } from './stripe-events/event-worker.ts'
import { hasDueHolds } from './vouchers/redemption-holds.ts'
import { addUpVoucherCounts } from './vouchers/voucher-counts.ts'

export type WorkerDeps = Omit<JobHandlerDeps, 'stopping' | 'purchases' | 'mailer'> & {
  config: Config
  connectionString: string
  /** Postgres itself, behind a pooler another address. */
  directConnectionString: string
  /** A small pool for heartbeat and timers, so that a busy worker does not look dead. */
  upkeepDb: Db
  mirrorFeed: MirrorFeed
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
  /** How long running work may take to end when the process stops. */
  drainMs: number
  /** Absent: nothing is traced. */
  tracer?: Tracer | null
}

export type Worker = {
  /** Starts no new work and waits for running work. Returns whether all of it ended in time. */
  stop(): Promise<boolean>
}

/**
 * The number of workers of each lane, so that slow work of one kind delays no other. Waiting costs little: a
 * job holds no database connection while it waits.
 */
const JOB_WORKERS: Readonly<Record<JobLane, number>> = {
  quick: 4,
  long: 3,
  throttled: 3,
  // Many, because receivers may hang. A conference has a share of them (see job-catalogue.ts).
  outbound: 48,
  mail: 4,
}

// NOTIFY wakes a worker immediately. Polling finds released jobs, jobs that are due later, and jobs whose
// NOTIFY was lost. Each worker polls by itself, so many of them poll rarely.
const MAX_POLL_MS = 1_000
const WORKERS_PER_POLL = 8

/**
 * Composes and starts the background work of the service: Stripe's events, jobs, timers, and the
 * heartbeat that shows other processes that this worker is alive. The database must be prepared.
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
  const wakeUps = listenForWakeUps({ connectionString: deps.directConnectionString, logger })
  // Object.entries forgets the type of the keys.
  const lanes = Object.entries(JOB_WORKERS) as [JobLane, number][]
  const runners = lanes.map(([lane, concurrency]) => {
    const shares = createJobShares()
    return runJobs({
      connectionString,
      prepareStatements: config.prepareStatements,
      db,
      logger,
      tasks: toTaskList(new Map([...registry].filter(([name]) => laneOf(name) === lane)), {
        logger,
        metrics,
        tracer: deps.tracer ?? null,
        park: parkWaitingJobs(deps),
        limit: {
          shares,
          putBack: (job) => db.transaction((trx) => parkJob(trx, job, { waitSeconds: 0 })),
        },
      }),
      lane,
      wakeUps,
      forbiddenFlags: () => shares.usedUp(),
      concurrency,
      pollMs: Math.min(MAX_POLL_MS, leaseSeconds * 100) * Math.ceil(concurrency / WORKERS_PER_POLL),
      drainMs: deps.drainMs,
      onWorkersChanged: () => heartbeat.beat(),
    })
  })
  const heartbeat = startHeartbeat({
    db: upkeepDb,
    logger,
    role: config.run,
    leaseSeconds,
    workerIds: () => runners.flatMap((runner) => runner.workerIds()),
  })
  const timers = startTimers({ db: upkeepDb, logger, timers: serviceTimers(config, logger) })
  // Two workers, so that thousands of mirror events do not delay a purchase.
  const events = (['purchase', 'mirror'] as const).map((lane) =>
    createEventWorker({ ...deps, purchases, wakeUps, leaseSeconds, lane }),
  )
  for (const worker of events) worker.start()
  return {
    async stop() {
      stopping.abort()
      await timers.stop()
      await wakeUps.stop()
      const [drained] = await Promise.all([
        Promise.all(runners.map((runner) => runner.stop())),
        ...events.map((worker) => worker.stop()),
      ])
      // Last, because other processes take over the work of a process without a heartbeat.
      await heartbeat.stop()
      return drained.every(Boolean)
    },
  }
}

/** Jobs that wait for a valid key, or for the rate limit of their account, give their worker back. */
function parkWaitingJobs(deps: Pick<WorkerDeps, 'db' | 'logger'>): ParkFailedJob {
  const [forKey, forRateLimit] = [createKeyParking(deps), createRateLimitParking(deps)]
  return async (...failure) => (await forKey(...failure)) || forRateLimit(...failure)
}

export type TimerSettings = Pick<
  Config,
  'leaseSeconds' | 'reconcileAfterSeconds' | 'missedEventsEverySeconds' | 'stripeSyncEverySeconds'
>

const PRUNE_SECONDS = 3_600

// Lists and reports read the changes since then one by one.
const ADD_UP_SECONDS = 5

// Until then, a look-up of a voucher counts its ended holds one by one.
const END_HOLDS_SECONDS = 10

// Such work waits for days already when every worker that took it has died.
const SWEEP_ABANDONED_SECONDS = 60

// Reads at most a thousand codes of each batch in ten requests, for numbers that only people look at.
const PUBLISHED_VOUCHERS_SECONDS = 300

// End dates are days, so an hour is precise enough.
const END_SUBSCRIPTIONS_SECONDS = 3_600

/** Everything that this service does at regular intervals. */
export function serviceTimers(settings: TimerSettings, logger: Logger): Timer[] {
  const { leaseSeconds, stripeSyncEverySeconds: syncSeconds } = settings
  return [
    {
      name: 'sweep_purchases',
      everySeconds: sweepSeconds(settings.reconcileAfterSeconds),
      fire: (trx) => addJob(trx, 'sweep_purchases', {}),
    },
    {
      name: 'sweep_abandoned',
      everySeconds: SWEEP_ABANDONED_SECONDS,
      fire: (trx) => addJob(trx, 'sweep_abandoned', {}),
    },
    forEachConference('find_missed_events', settings.missedEventsEverySeconds, async () => null),
    forEachConference(
      'read_published_vouchers',
      PUBLISHED_VOUCHERS_SECONDS,
      conferencesWithPublishedVouchers,
    ),
    ...(syncSeconds === null
      ? []
      : [forEachConference('start_sync_runs', syncSeconds, async () => null)]),
    forEachConference(
      'end_subscriptions',
      END_SUBSCRIPTIONS_SECONDS,
      conferencesWithDueSubscriptions,
    ),
    {
      name: 'prune',
      everySeconds: PRUNE_SECONDS,
      fire: (trx) => addJob(trx, 'prune', {}),
    },
    {
      name: 'add_up_voucher_counts',
      everySeconds: ADD_UP_SECONDS,
      fire: addUpVoucherCounts,
    },
    {
      name: 'end_holds',
      everySeconds: END_HOLDS_SECONDS,
      async fire(trx) {
        if (await hasDueHolds(trx)) await addJob(trx, 'end_holds', {})
      },
    },
    {
      // Not a job, because it must also run when all remaining workers are busy.
      name: 'release_dead_workers',
      everySeconds: beatSeconds(leaseSeconds),
      async fire(trx) {
        const dead = await releaseDeadWorkers(trx, leaseSeconds)
        if (dead.length > 0) logger.warn({ workers: dead }, 'released the jobs of dead workers')
      },
    },
  ]
}

/**
 * A quarter of the time after which a purchase counts as waiting, so that it waits at most a quarter
 * longer. At least a second, because sweeps cost work too, and at most 30 seconds.
 */
function sweepSeconds(reconcileAfterSeconds: number): number {
  return Math.min(30, Math.max(1, reconcileAfterSeconds / 4))
}

type ConferenceJob =
  | 'find_missed_events'
  | 'read_published_vouchers'
  | 'start_sync_runs'
  | 'end_subscriptions'

/**
 * Adds one job for each conference, so that a wrong key or a slow account delays no other conference.
 * Conferences without a Stripe key get none.
 *
 * @param listConferences the conferences that need the job; null: all.
 */
function forEachConference(
  job: ConferenceJob,
  everySeconds: number,
  listConferences: (trx: Tx) => Promise<string[] | null>,
): Timer {
  return {
    name: job,
    everySeconds,
    async fire(trx) {
      const wanted = await listConferences(trx)
      for (const id of await conferencesWithStripeKey(trx)) {
        if (wanted === null || wanted.includes(id)) await addJob(trx, job, { conference_id: id })
      }
    },
  }
}

import type { Config } from './config.ts'
import type { Db } from './db/connect.ts'
import { startHeartbeat } from './jobs/heartbeat.ts'
import { type JobName, LONG_JOBS, OUTGOING_JOBS } from './jobs/job-catalogue.ts'
import { toTaskList } from './jobs/job-tasks.ts'
import { runJobs } from './jobs/run-jobs.ts'
import { serviceTimers } from './jobs/service-timers.ts'
import { startTimers } from './jobs/timers.ts'
import { type ServiceJobDeps, serviceJobs } from './service-jobs.ts'
import type { EventHook } from './stripe/inbox/event-hook.ts'
import { createEventWorker } from './stripe/inbox/event-worker.ts'
import type { MirrorFeed } from './stripe/sync/feed/mirror-feed.ts'

export type WorkerDeps = Omit<ServiceJobDeps, 'stopping'> & {
  config: Config
  connectionString: string
  /** A small pool for heartbeat and timers: a load of work must not make a living worker look dead. */
  upkeepDb: Db
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

const CONCURRENT_JOBS = 4

// Each is paced by its Stripe account's request budget anyway.
const CONCURRENT_LONG_JOBS = 3

// They only wait, and those of one receiver one after the other.
const CONCURRENT_OUTGOING_JOBS = 8

const isQuick = (name: JobName) => !LONG_JOBS.has(name) && !OUTGOING_JOBS.has(name)

// NOTIFY wakes a worker at once; polling finds what was given back, or whose NOTIFY was lost.
const LONGEST_POLL_MS = 1_000

/**
 * The working side of the service, composed and running: Stripe's events, jobs, timers, and the
 * heartbeat that tells others that its work is in living hands. The database must be prepared.
 */
export function startWorker(deps: WorkerDeps): Worker {
  const { config, connectionString, db, upkeepDb, logger, metrics } = deps
  const { leaseSeconds } = config
  const stopping = new AbortController()
  const registry = serviceJobs({ ...deps, stopping: stopping.signal })
  const runners = [
    { takes: isQuick, concurrency: CONCURRENT_JOBS },
    { takes: (name: JobName) => LONG_JOBS.has(name), concurrency: CONCURRENT_LONG_JOBS },
    { takes: (name: JobName) => OUTGOING_JOBS.has(name), concurrency: CONCURRENT_OUTGOING_JOBS },
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
      pollMs: Math.min(LONGEST_POLL_MS, leaseSeconds * 100),
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
    createEventWorker({ ...deps, leaseSeconds, lane }),
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

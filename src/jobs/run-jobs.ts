import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Logger as GraphileLogger,
  runTaskList,
  type TaskList,
  type WorkerEvents,
  type WorkerPool,
} from 'graphile-worker'
import pg from 'pg'
import type { Db } from '../db/connect.ts'
import { isSchemaCompatible } from '../db/migrations.ts'
import type { WakeUps } from '../db/wake-ups.ts'
import type { Logger } from '../shared/logger.ts'
import type { JobLane } from './job-catalogue.ts'
import { JOB_CHANNEL } from './job-queue.ts'
import { type Repeated, repeat } from './repeat.ts'

export type RunJobsDeps = {
  connectionString: string
  /** Absent: false. */
  prepareStatements?: boolean
  db: Db
  logger: Logger
  tasks: TaskList
  /** The jobs that `tasks` has. */
  lane: JobLane
  /** Absent: the runner only polls. */
  wakeUps?: WakeUps
  concurrency: number
  pollMs: number
  /** How long a stop waits for running jobs before it aborts their signal. */
  drainMs: number
  /** Called when the names under which jobs are locked have changed. */
  onWorkersChanged: () => void
  /** Jobs with one of these flags are not taken now. Absent: all are. */
  forbiddenFlags?: () => string[]
}

export type JobRunner = {
  /** The names under which jobs are locked. */
  workerIds(): string[]
  /**
   * Takes no new job and waits for the running ones. After `drainMs` it releases them for another
   * worker. Returns whether all of them ended.
   */
  stop(): Promise<boolean>
}

const RESTART_MS = 1_000
const RELEASE_TIMEOUT_MS = 2_000

/**
 * Runs graphile-worker for the life of the process. Its worker pool ends when the database fails while
 * it records the end of a job, and it never works when the database fails at its start. So this
 * function watches the pool and starts another one. A job whose end was not recorded runs twice.
 */
export function runJobs(deps: RunJobsDeps): JobRunner {
  const { db, logger, onWorkersChanged } = deps
  const pgPool = openJobPool(deps)
  const abandoned = new Set<string>()
  let pool: WorkerPool | null = null
  let stopping = false

  const watch: Repeated = repeat({
    what: 'job runner',
    everyMs: RESTART_MS,
    logger,
    async work() {
      if (pool !== null) return
      // An old release must not work on a schema that it does not support.
      if (!(await isSchemaCompatible(db)))
        throw new Error('The database schema does not fit this release')
      await releaseLocks(db, abandoned)
      pool = startPool(deps, pgPool)
      const { id } = pool
      onWorkersChanged()
      void poolEnd(pool).then((err) => {
        abandoned.add(id)
        pool = null
        if (!stopping) logger.warn({ err }, 'the job runner ended and restarts')
      })
    },
  })

  return {
    workerIds: () => (pool === null ? [] : [pool.id]),
    async stop() {
      stopping = true
      await watch.stop()
      const drained = pool === null || (await drain(pool, deps.drainMs, logger))
      await within(RELEASE_TIMEOUT_MS, pgPool.end())
      return drained
    },
  }
}

/** The connections with which one runner fetches and finishes jobs. The jobs use the service's pool. */
function openJobPool({ connectionString, logger, lane, wakeUps }: RunJobsDeps): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    application_name: 'sponsor-vouchers jobs',
    max: 2,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  })
  // Without a listener, pg throws these errors. The next query reports a broken connection anyway.
  const ignore = (err: unknown) => logger.debug({ err }, 'job connection lost')
  pool.on('error', ignore)
  pool.on('connect', (client) => client.on('error', ignore))
  const connect = pool.connect.bind(pool)
  const listening = listeningClient(lane, wakeUps)
  // With a callback, graphile-worker asks for the client with which it listens.
  const connectOrListen = (callback?: (...answer: [undefined, object, () => void]) => void) =>
    callback === undefined ? connect() : callback(undefined, listening, () => {})
  return Object.assign(pool, { connect: connectOrListen })
}

const SEVERAL_JOBS = 4

/**
 * Stands in for the client with which a runner listens. All runners of the process share one connection,
 * and only those are woken that may take the job: otherwise each job would cost a query of every runner.
 */
function listeningClient(lane: JobLane, wakeUps: WakeUps | undefined): object {
  const client = new EventEmitter()
  const notify = (channel: string, payload: string) =>
    client.emit('notification', { channel, payload })
  const notifyOfJobs = (count: number) => notify('jobs:insert', JSON.stringify({ count }))
  wakeUps?.on(JOB_CHANNEL, (announced) => {
    if (announced === lane) notifyOfJobs(1)
    else if (announced === null || announced === '') notifyOfJobs(SEVERAL_JOBS)
  })
  wakeUps?.on('worker:migrate', (payload) => payload !== null && notify('worker:migrate', payload))
  // graphile-worker sends LISTEN and UNLISTEN.
  return Object.assign(client, { query: async () => {} })
}

function startPool(deps: RunJobsDeps, pgPool: pg.Pool): WorkerPool {
  const events: WorkerEvents = new EventEmitter()
  const pool = runTaskList(
    {
      schema: 'graphile_worker',
      concurrency: deps.concurrency,
      pollInterval: deps.pollMs,
      noHandleSignals: true,
      ...(deps.forbiddenFlags === undefined ? {} : { forbiddenFlags: deps.forbiddenFlags }),
      logger: bridgeGraphileLogger(deps.logger),
      events,
      gracefulShutdownAbortTimeout: deps.drainMs,
      // Without a delay (-1), graphile-worker does not await the statement that finishes a job, and its
      // failure ends the process as an unhandled rejection. With a delay, it only ends this pool.
      preset: {
        worker: {
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
          preparedStatements: deps.prepareStatements === true,
        },
      },
    },
    deps.tasks,
    pgPool,
  )
  stopIfFirstFetchFails(pool, events)
  wakeForFreedQueues(pool, events, deps.db)
  return pool
}

/**
 * Ends a pool whose first look for a job failed. Such a pool never finds a job, because it looks up its
 * tasks only once and keeps the failure.
 */
function stopIfFirstFetchFails(pool: WorkerPool, events: WorkerEvents): void {
  const settled = new AbortController()
  const began = () => settled.abort()
  events.once('worker:getJob:empty', began)
  events.once('job:start', began)
  events.on('worker:getJob:error', () => {
    if (settled.signal.aborted) return
    settled.abort()
    // The watcher then starts another pool. Delayed, because a worker that is stopped while it handles
    // this error prints it on standard error.
    setImmediate(() => {
      Promise.resolve(pool.gracefulShutdown('The first query for jobs failed')).catch(() => {})
    })
  })
}

/**
 * A worker that has done a job looks for the next one while the end of the first is still being recorded.
 * It finds the queue of that job taken, and would sleep until its next poll. So a worker is woken once
 * the end is recorded.
 */
function wakeForFreedQueues(pool: WorkerPool, events: WorkerEvents, db: Db): void {
  events.on('job:complete', ({ job }) => {
    if (job.job_queue_id === null) return
    // If the look-up fails, a poll finds the next job.
    whenRecorded(db, job.id)
      // It throws if the pool has ended meanwhile.
      .then(() => pool.nudge(1))
      .catch(() => {})
  })
}

const FIRST_LOOK_MS = 5
/** About a second in all. */
const LOOKS = 8

async function whenRecorded(db: Db, jobId: string): Promise<void> {
  for (let look = 0; look < LOOKS; look += 1) {
    await sleep(FIRST_LOOK_MS * 2 ** look, undefined, { ref: false })
    const running = await db('graphile_worker.jobs')
      .where({ id: jobId })
      .whereNotNull('locked_at')
      .first('id')
    if (running === undefined) return
  }
}

async function releaseLocks(db: Db, abandoned: Set<string>): Promise<void> {
  const ids = [...abandoned]
  if (ids.length > 0) await db.raw('select graphile_worker.force_unlock_workers(?)', [ids])
  for (const id of ids) abandoned.delete(id)
}

async function drain(pool: WorkerPool, drainMs: number, logger: Logger): Promise<boolean> {
  const ended = poolEnd(pool)
  Promise.resolve(pool.gracefulShutdown('The process is stopping')).catch(() => {})
  if (await within(drainMs, ended)) return true
  logger.warn('jobs did not end in time and are released')
  Promise.resolve(pool.forcefulShutdown('The process stopped before the job ended')).catch(() => {})
  await within(RELEASE_TIMEOUT_MS, ended)
  return false
}

/** Resolves when the pool has ended: with the error that ended it, or null. */
function poolEnd(pool: WorkerPool): Promise<unknown> {
  return pool.promise.then(
    () => null,
    (error: unknown) => error,
  )
}

async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const late = new Promise<boolean>((resolve) => setTimeout(resolve, ms, false).unref())
  return Promise.race([promise.then(() => true), late])
}

const LEVELS = { error: 'error', warning: 'warn', info: 'debug', debug: 'trace' } as const

/**
 * Writes graphile-worker's log to ours, one level lower. Its metadata is left out, because it contains
 * whole jobs with their payloads. Failures of jobs are left out too, because job-registry.ts logs them.
 */
function bridgeGraphileLogger(logger: Logger): GraphileLogger {
  return new GraphileLogger(() => (level, message, meta) => {
    if (meta?.['failure'] !== true) logger[LEVELS[level]]({ from: 'graphile-worker' }, message)
  })
}

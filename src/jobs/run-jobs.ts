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
import type { Logger } from '../shared/logger.ts'
import { type Repeated, repeat } from './repeat.ts'

export type RunJobsDeps = {
  connectionString: string
  db: Db
  logger: Logger
  tasks: TaskList
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

/**
 * The connections of one runner. Their callback's `done` may be called twice: graphile-worker does so if the
 * database fails while its runner stops, and the error would end the process as an unhandled rejection.
 */
export function openJobPool({
  connectionString,
  logger,
}: Pick<RunJobsDeps, 'connectionString' | 'logger'>): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    application_name: 'sponsor-vouchers jobs',
    // One connection listens, two fetch and finish jobs. The jobs themselves use the service's pool.
    max: 3,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  })
  // Without a listener, pg throws these errors. The next query reports a broken connection anyway.
  const ignore = (err: unknown) => logger.debug({ err }, 'job connection lost')
  pool.on('error', ignore)
  pool.on('connect', (client) => client.on('error', ignore))
  const connect = pool.connect.bind(pool)
  const withDoneOnce = (callback?: ConnectCallback) => {
    if (callback === undefined) return connect()
    return connect((err, client, done) => {
      let isDone = false
      callback(err, client, (release) => {
        if (!isDone) done(release)
        isDone = true
      })
    })
  }
  return Object.assign(pool, { connect: withDoneOnce })
}

type ConnectCallback = Parameters<pg.Pool['connect']>[0]

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
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
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
    whenRecorded(db, job.id).then(
      () => pool.nudge(1),
      () => {},
    )
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

import { EventEmitter } from 'node:events'
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
  /** Running jobs learn by their signal that the process cannot wait longer than this. */
  drainMs: number
  /** Called when the names change under which jobs are locked. */
  onWorkersChanged: () => void
}

export type JobRunner = {
  /** The names under which jobs are locked now. */
  workerIds(): string[]
  /**
   * Takes no new job and waits for the running ones; after `drainMs` it gives them back for another
   * worker. Returns whether all of them ended.
   */
  stop(): Promise<boolean>
}

const RESTART_MS = 1_000
const RELEASE_TIMEOUT_MS = 2_000

/**
 * Runs graphile-worker for as long as the process lives. Its pool of workers ends by itself when the
 * database goes away in the wrong moment (it could not record that a job is done), and it never
 * recovers when the database was away at its start; so it is watched and started anew. A job whose
 * end could not be recorded runs a second time.
 */
export function runJobs(deps: RunJobsDeps): JobRunner {
  const { db, logger, onWorkersChanged } = deps
  const pgPool = openPool(deps)
  const abandoned = new Set<string>()
  let pool: WorkerPool | null = null
  let stopping = false

  const watch: Repeated = repeat({
    what: 'job runner',
    everyMs: RESTART_MS,
    logger,
    async work() {
      if (pool !== null) return
      // Also keeps an old release from working on a schema that serves it no longer.
      if (!(await isSchemaCompatible(db)))
        throw new Error('The schema does not serve this release yet')
      await releaseLocks(db, abandoned)
      pool = startPool(deps, pgPool)
      const { id } = pool
      onWorkersChanged()
      void poolEnd(pool).then((err) => {
        abandoned.add(id)
        pool = null
        if (!stopping) logger.warn({ err }, 'the job runner ended and is started anew')
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

function openPool({ connectionString, logger }: RunJobsDeps): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    application_name: 'sponsor-vouchers jobs',
    // One listens; two fetch and finish jobs, whose own work runs on the service's pool.
    max: 3,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
  })
  // pg throws what nobody listens to. The next query reports a broken connection.
  const ignore = (err: unknown) => logger.debug({ err }, 'job connection lost')
  pool.on('error', ignore)
  pool.on('connect', (client) => client.on('error', ignore))
  return pool
}

function startPool(deps: RunJobsDeps, pgPool: pg.Pool): WorkerPool {
  const events: WorkerEvents = new EventEmitter()
  const pool = runTaskList(
    {
      schema: 'graphile_worker',
      concurrency: deps.concurrency,
      pollInterval: deps.pollMs,
      noHandleSignals: true,
      logger: bridgeGraphileLogger(deps.logger),
      events,
      gracefulShutdownAbortTimeout: deps.drainMs,
      // Without a delay (-1) nobody awaits the statement that finishes a job, and its failure ends
      // the process as an unhandled rejection; with one it ends this pool.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    },
    deps.tasks,
    pgPool,
  )
  stopIfFirstFetchFails(pool, events)
  return pool
}

/**
 * The pool looks up its tasks once and keeps even a failure of that, so one whose first look for a
 * job failed will never find any.
 */
function stopIfFirstFetchFails(pool: WorkerPool, events: WorkerEvents): void {
  const settled = new AbortController()
  const began = () => settled.abort()
  events.once('worker:getJob:empty', began)
  events.once('job:start', began)
  events.on('worker:getJob:error', () => {
    if (settled.signal.aborted) return
    settled.abort()
    // Its promise tells the watcher, which starts another. Not at once: a worker that is stopped
    // while it handles this very error prints it on standard error.
    setImmediate(() => {
      Promise.resolve(pool.gracefulShutdown('It could not look for jobs')).catch(() => {})
    })
  })
}

async function releaseLocks(db: Db, abandoned: Set<string>): Promise<void> {
  const ids = [...abandoned]
  if (ids.length > 0) await db.raw('select graphile_worker.force_unlock_workers(?)', [ids])
  for (const id of ids) abandoned.delete(id)
}

async function drain(pool: WorkerPool, drainMs: number, logger: Logger): Promise<boolean> {
  const ended = poolEnd(pool)
  Promise.resolve(pool.gracefulShutdown('The process stops')).catch(() => {})
  if (await within(drainMs, ended)) return true
  logger.warn('jobs did not end in time and are given back')
  Promise.resolve(pool.forcefulShutdown('The process stopped before the job ended')).catch(() => {})
  await within(RELEASE_TIMEOUT_MS, ended)
  return false
}

/** Resolves when the pool has ended, with the error that ended it. */
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
 * graphile-worker's log in ours, a level lower: that a job ran is no news. Its metadata stays out,
 * since it carries whole jobs with their payloads; and so do failures of a job, which job-tasks.ts
 * logs itself.
 */
function bridgeGraphileLogger(logger: Logger): GraphileLogger {
  return new GraphileLogger(() => (level, message, meta) => {
    if (meta?.['failure'] !== true) logger[LEVELS[level]]({ from: 'graphile-worker' }, message)
  })
}

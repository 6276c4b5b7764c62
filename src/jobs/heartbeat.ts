import type { Db, Tx } from '../db/connect.ts'
import { newId } from '../shared/ids.ts'
import type { Logger } from '../shared/logger.ts'
import { repeat } from './repeat.ts'

// Of a lease: a beat every sixth, dead after a half (two beats lost and a third late), looked for
// every sixth. So at worst two thirds are over before a dead worker's jobs are free, and one third is
// left for somebody to take them.
const BEAT_SHARE = 1 / 6
const DEAD_SHARE = 1 / 2

/** How often a process writes its heartbeat, and how often the dead are looked for. Seconds. */
export function beatSeconds(leaseSeconds: number): number {
  return leaseSeconds * BEAT_SHARE
}

export type Heartbeat = {
  readonly processId: string
  /** Writes the row now, for instance when the workers changed. */
  beat(): void
  /** Ends the heartbeat and takes the row away: a process that left in order is not a dead one. */
  stop(): Promise<void>
}

/**
 * Keeps this process's row in `processes` fresh. `workerIds` are the names under which it locks
 * jobs; the row is what keeps others from taking them over.
 */
export function startHeartbeat(deps: {
  db: Db
  logger: Logger
  role: 'all' | 'serve' | 'work'
  leaseSeconds: number
  workerIds: () => string[]
}): Heartbeat {
  const { db, logger, role, leaseSeconds, workerIds } = deps
  const processId = newId('process')
  const beats = repeat({
    what: 'heartbeat',
    everyMs: beatSeconds(leaseSeconds) * 1000,
    logger,
    async work() {
      await db('processes')
        .insert({ id: processId, role, worker_ids: workerIds() })
        .onConflict('id')
        .merge({ worker_ids: workerIds(), heartbeat_at: db.fn.now() })
    },
  })
  return {
    processId,
    beat: () => beats.soon(),
    async stop() {
      await beats.stop()
      await db('processes')
        .where({ id: processId })
        .delete()
        .catch((err: unknown) => logger.debug({ err }, 'the heartbeat row stays'))
    },
  }
}

/**
 * Gives the jobs of dead workers back, which graphile-worker itself does after four hours. Dead is
 * whoever holds an old lock without a fresh heartbeat in its name: that covers processes that were
 * killed at any moment, also before their first beat.
 */
export async function releaseDeadWorkers(trx: Tx, leaseSeconds: number): Promise<string[]> {
  const after = leaseSeconds * DEAD_SHARE
  await trx('processes')
    .whereRaw('heartbeat_at < now() - make_interval(secs => ?)', [after])
    .delete()
  const locks = await trx('graphile_worker.jobs')
    .whereRaw('locked_at < now() - make_interval(secs => ?)', [after])
    .whereNotIn('locked_by', trx('processes').select(trx.raw('unnest(worker_ids)')))
    .distinct<{ locked_by: string }[]>('locked_by')
  const dead = locks.map((lock) => lock.locked_by)
  if (dead.length > 0) {
    await trx.raw('select graphile_worker.force_unlock_workers(?)', [dead])
    // What adding a job says too: workers look at once instead of at their next poll.
    await trx.raw(`select pg_notify('jobs:insert', '{"count":4}')`)
  }
  return dead
}

/** The number of processes with a heartbeat by role, for the metrics. */
export function countProcesses(trx: Tx): Promise<{ role: string; count: number }[]> {
  return trx('processes').groupBy('role').select('role').count<{ role: string; count: number }[]>()
}

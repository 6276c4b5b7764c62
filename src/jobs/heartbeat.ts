import type { Db, Tx } from '../db/connect.ts'
import { newId } from '../shared/ids.ts'
import type { Logger } from '../shared/logger.ts'
import { wakeJobWorkers } from './job-queue.ts'
import { repeat } from './repeat.ts'

// Fractions of the lease. A process beats every sixth and counts as dead after a half, when two beats
// are missing and a third is late. Dead processes are looked for every sixth. So the jobs of a dead
// worker are free after two thirds at most, and one third remains for another worker to take them.
const BEAT_SHARE = 1 / 6
const DEAD_SHARE = 1 / 2

/** How often a process writes its heartbeat, and how often dead processes are looked for. */
export function beatSeconds(leaseSeconds: number): number {
  return leaseSeconds * BEAT_SHARE
}

export type Heartbeat = {
  readonly processId: string
  /** Writes the row now, for example when the workers changed. */
  beat(): void
  /** Ends the heartbeat and deletes the row, because an orderly stop leaves no work behind. */
  stop(): Promise<void>
}

/**
 * Keeps this process's row in `processes` fresh. `workerIds` are the names under which the process
 * locks jobs. While the row is fresh, other processes do not release those jobs.
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
        .catch((err: unknown) => logger.debug({ err }, 'cannot delete the heartbeat row'))
    },
  }
}

/**
 * Releases the jobs of dead workers, which graphile-worker itself does only after four hours. A worker
 * is dead if it holds an old lock without a fresh heartbeat. This includes processes that were killed
 * before their first heartbeat.
 *
 * @returns the names of the dead workers.
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
    await wakeJobWorkers(trx)
  }
  return dead
}

/** The number of processes with a heartbeat by role, for the metrics. */
export function countProcesses(trx: Tx): Promise<{ role: string; count: number }[]> {
  return trx('processes').groupBy('role').select('role').count<{ role: string; count: number }[]>()
}

import type { Tx } from '../../../db/connect.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { insertRun } from './run-store.ts'
import type { RunOptions, RunRef, RunStarter, SyncRun } from './sync-run.ts'

/**
 * Asks for a run, which a working process then takes.
 *
 * @throws AppError `sync_running` while another run of the resource has not ended.
 */
export async function startRun(
  trx: Tx,
  run: { conferenceId: string; resource: string; startedBy: RunStarter; options: RunOptions },
): Promise<SyncRun> {
  const started = await insertRun(trx, run)
  await queueRun(trx, { conferenceId: run.conferenceId, runId: started.id })
  return started
}

/** Adds the job that works on a run. @param runAt not before this moment. */
export function queueRun(trx: Tx, { conferenceId, runId }: RunRef, runAt?: Date): Promise<void> {
  return addJob(
    trx,
    'run_sync',
    { conference_id: conferenceId, run_id: runId },
    runAt === undefined ? {} : { runAt },
  )
}

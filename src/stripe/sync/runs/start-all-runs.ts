import type { Tx } from '../../../db/connect.ts'
import { ALL_RESOURCES } from '../all-resources.ts'
import { findActiveRun } from './run-store.ts'
import { startRun } from './start-run.ts'
import { NO_OPTIONS } from './sync-run.ts'

/** Asks for a full run of each resource that has none under way. Returns how many it asked for. */
export async function startAllRuns(trx: Tx, conferenceId: string): Promise<number> {
  let started = 0
  for (const { name } of ALL_RESOURCES) {
    if ((await findActiveRun(trx, conferenceId, name)) !== null) continue
    await startRun(trx, { conferenceId, resource: name, startedBy: 'timer', options: NO_OPTIONS })
    started += 1
  }
  return started
}

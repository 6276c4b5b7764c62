import type { Db, Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { resource } from '../../sync/resources/promotion-codes.ts'
import { findActiveRun } from '../../sync/runs/run-store.ts'
import { startRun } from '../../sync/runs/start-run.ts'
import { NO_OPTIONS } from '../../sync/runs/sync-run.ts'

/**
 * Asks for a run over a conference's promotion codes, unless one is under way: Stripe sends no event
 * when a code is used, and the run brings the uses of published vouchers.
 */
export async function readPublishedVouchers(db: Db, conferenceId: string): Promise<void> {
  const run = { conferenceId, resource: resource.name, startedBy: 'timer' as const }
  await withTenant(db, { conferenceId }, async (trx: Tx) => {
    if ((await findActiveRun(trx, conferenceId, resource.name)) !== null) return
    await startRun(trx, { ...run, options: NO_OPTIONS })
  })
}

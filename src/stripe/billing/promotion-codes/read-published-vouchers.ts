import type { Db, Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { resource } from '../../sync/resources/promotion-codes.ts'
import { findActiveRun } from '../../sync/runs/run-store.ts'
import { startRun } from '../../sync/runs/start-run.ts'
import { NO_OPTIONS } from '../../sync/runs/sync-run.ts'
import { FROM_PUBLISHED, TO_DO } from './publication-store.ts'

/**
 * Asks for a run over a conference's promotion codes, unless one is under way: Stripe sends no event
 * when a code is used, and the run brings the uses of published vouchers. Also asks again for what
 * Stripe has not been told, such as to turn codes off, where a job has given up.
 */
export async function readPublishedVouchers(db: Db, conferenceId: string): Promise<void> {
  const run = { conferenceId, resource: resource.name, startedBy: 'timer' as const }
  await withTenant(db, { conferenceId }, async (trx) => {
    for (const batch_id of await waitingBatches(trx, conferenceId)) {
      await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id })
    }
    if ((await findActiveRun(trx, conferenceId, resource.name)) !== null) return
    await startRun(trx, { ...run, options: NO_OPTIONS })
  })
}

async function waitingBatches(trx: Tx, conferenceId: string): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { batch_id: string }[] }>(
    `select distinct v.batch_id from ${FROM_PUBLISHED}
     where p.conference_id = :conferenceId and ${TO_DO}
       and not exists (
         select from graphile_worker.jobs j
         where j.key = 'align_promotion_codes:' || v.batch_id
           and (j.attempts < j.max_attempts or j.locked_at is not null))`,
    { conferenceId },
  )
  return rows.map(({ batch_id }) => batch_id)
}

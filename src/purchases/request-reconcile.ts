import type { Tx } from '../db/connect.ts'
import type { Caller } from '../http/caller.ts'

/** A purchase younger than this is left to its webhook. Seconds. */
const QUIET_SECONDS = 5

/** Puts a reconcile job into the caller's transaction. Implemented by jobs/. */
export type AddReconcileJob = (
  trx: Tx,
  job: { conferenceId: string; purchaseId: string; reason: string },
) => Promise<void>

export type ReconcileRequests = {
  /**
   * Somebody looks at a PROCESSING purchase, perhaps on the page after paying: asks for a reading
   * when none happened for a while. Not awaited; the answer comes from the database.
   */
  onView(trx: Tx, caller: Caller, purchase: { id: string }): Promise<void>
}

export function createReconcileRequests(addJob: AddReconcileJob): ReconcileRequests {
  return {
    async onView(trx, { conferenceId }, { id }) {
      const stale = await trx('bulk_purchases')
        .where({ conference_id: conferenceId, id, status: 'PROCESSING' })
        .whereRaw(`greatest(updated_at, reconciled_at) < now() - make_interval(secs => ?)`, [
          QUIET_SECONDS,
        ])
        .first('id')
      if (stale !== undefined) await addJob(trx, { conferenceId, purchaseId: id, reason: 'view' })
    },
  }
}

import { withTenant } from '../../../db/tenant-scope.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import { executeRun } from './execute-run.ts'
import { getRun, insertRun } from './run-store.ts'
import { NO_OPTIONS, type RunOptions, type RunStarter, type SyncRun } from './sync-run.ts'

/** A full sync's options; see RunOptions for the first. */
export type SyncAllOptions = Partial<RunOptions> & {
  startedBy?: RunStarter
  /** Told after each page. */
  onProgress?: (run: SyncRun) => void
  /** Ends the run as `cancelled` after the page that is being stored. */
  signal?: AbortSignal
  /** How long a run may go without a sign of life before another process takes it over. */
  leaseSeconds?: number
}

const LEASE_SECONDS = 60

/**
 * Syncs everything that Stripe lists, or what the options name, in this process, and returns the run
 * as it ended: look at its `state`.
 *
 * @throws AppError `sync_running` while another run of the resource has not ended.
 */
export async function syncAll(
  action: StripeSyncAction<StripeObject>,
  options: SyncAllOptions = {},
): Promise<SyncRun> {
  const { startedBy = 'code', onProgress, signal, leaseSeconds, ...given } = options
  const { db, conferenceId } = action.context
  const run = await withTenant(db, action.context, (trx) =>
    insertRun(trx, {
      conferenceId,
      resource: action.resource.name,
      startedBy,
      options: { ...NO_OPTIONS, ...given },
    }),
  )
  const ref = { conferenceId, runId: run.id }
  await executeRun({
    action,
    ref,
    options: {
      leaseSeconds: leaseSeconds ?? LEASE_SECONDS,
      signal: signal ?? new AbortController().signal,
      whenAborted: 'cancel',
      isRetried: false,
      ...(onProgress === undefined ? {} : { onProgress }),
    },
  })
  return withTenant(db, ref, (trx) => getRun(trx, ref))
}

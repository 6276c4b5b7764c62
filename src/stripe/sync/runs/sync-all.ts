import type { StripeObject } from '../stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import { type RunHere, runHere } from './run-here.ts'
import { NO_OPTIONS, type RunOptions, type SyncRun } from './sync-run.ts'

/** A full sync's options; see RunOptions for the first, RunHere for the others. */
export type SyncAllOptions = Partial<RunOptions> & Partial<Omit<RunHere, 'options'>>

const LEASE_SECONDS = 60

/**
 * Syncs everything that Stripe lists, or what the options name, in this process, and returns the run
 * as it ended: look at its `state`.
 *
 * @throws AppError `sync_running` while another run of the resource has not ended.
 */
export function syncAll(
  action: StripeSyncAction<StripeObject>,
  given: SyncAllOptions = {},
): Promise<SyncRun> {
  const { ids, since, force, dryRun, ...work } = { ...NO_OPTIONS, ...given }
  return runHere(action, {
    startedBy: 'code',
    leaseSeconds: LEASE_SECONDS,
    signal: new AbortController().signal,
    ...work,
    options: { ids, since, force, dryRun },
  })
}

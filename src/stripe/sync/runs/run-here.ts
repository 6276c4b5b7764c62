import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { AppError } from '../../../shared/errors.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import { executeClaimed } from './execute-run.ts'
import { runLease } from './run-lease.ts'
import { type ClaimedRun, claimRun, findActiveRun, getRun, insertRun } from './run-store.ts'
import { queueRun } from './start-run.ts'
import type { RunOptions, RunStarter, SyncRun } from './sync-run.ts'

export type RunHere = {
  startedBy: RunStarter
  options: RunOptions
  /** LEASE_SECONDS: within it a working process goes on with the run when this one dies. */
  leaseSeconds: number
  /** Ends the run as `cancelled` after the page that is being stored. */
  signal: AbortSignal
  /** Told once, before the first request. `isResumed`: it is a run that another process began. */
  onBegin?: (run: SyncRun, isResumed: boolean) => void
  /** Told after each page. */
  onProgress?: (run: SyncRun) => void
}

/**
 * Does a whole run in this process, and returns it as it ended: look at its `state`. A run of the
 * resource that nobody works on, because its process died or none has taken it yet, is taken over if
 * it asks for the same.
 *
 * @throws AppError `sync_running` while another run of the resource has not ended.
 */
export async function runHere(
  action: StripeSyncAction<StripeObject>,
  work: RunHere,
): Promise<SyncRun> {
  const { db } = action.context
  const { run, isResumed } = await withTenant(db, action.context, (trx) => begin(trx, action, work))
  work.onBegin?.(run, isResumed)
  const { signal, onProgress } = work
  await executeClaimed(
    {
      action,
      options: {
        leaseSeconds: runLease(work.leaseSeconds),
        signal,
        whenAborted: 'cancel',
        isRetried: false,
        ...(onProgress === undefined ? {} : { onProgress }),
      },
    },
    run,
  )
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  return withTenant(db, ref, (trx) => getRun(trx, ref))
}

/** Inserted and taken by one commit: nobody else ever sees the run unheld. */
async function begin(
  trx: Tx,
  action: StripeSyncAction<StripeObject>,
  { startedBy, options, leaseSeconds }: RunHere,
): Promise<{ run: ClaimedRun; isResumed: boolean }> {
  const { conferenceId } = action.context
  const resource = action.resource.name
  const active = await findActiveRun(trx, conferenceId, resource)
  if (active !== null && !asksForTheSame(active.options, options)) throw asksForOther(active)
  const { id } = active ?? (await insertRun(trx, { conferenceId, resource, startedBy, options }))
  const ref = { conferenceId, runId: id }
  const run = await claimRun(trx, ref, runLease(leaseSeconds))
  if (run === null) throw held(resource, id)
  if (isServiceAction(action)) {
    await queueRun(trx, ref, new Date(Date.now() + runLease(leaseSeconds) * 1000))
  }
  return { run, isResumed: active !== null }
}

/** A worker would go on with the resource's own action, so not with the hooks of any other. */
function isServiceAction({ resource, context, constructor }: StripeSyncAction<StripeObject>) {
  return resource.createAction(context).constructor === constructor
}

function asksForTheSame(one: RunOptions, other: RunOptions): boolean {
  return (
    one.dryRun === other.dryRun &&
    one.force === other.force &&
    one.since?.getTime() === other.since?.getTime() &&
    JSON.stringify(one.ids?.toSorted()) === JSON.stringify(other.ids?.toSorted())
  )
}

function asksForOther({ id, resource }: SyncRun): AppError {
  return running(
    id,
    `Run ${id} of ${resource} has not ended yet, and asks for something else. Wait for it or cancel it.`,
  )
}

function held(resource: string, id: string): AppError {
  return running(id, `Another process works on run ${id} of ${resource}.`)
}

function running(id: string, message: string): AppError {
  return new AppError('sync_running', message, { extra: { sync_run: id } })
}

import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import type { StripeObject } from '../../stripe/stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import { type SyncError, toSyncError } from '../sync-outcome.ts'
import { listAndStore } from './list-and-store.ts'
import { storeByIds } from './store-by-ids.ts'
import {
  NO_OPTIONS,
  runLeaseSeconds,
  type SyncRun,
  type SyncRunOptions,
  type SyncRunRef,
  type SyncRunStarter,
} from './sync-run.ts'
import { SyncRunProgress } from './sync-run-progress.ts'
import {
  type ClaimedSyncRun,
  claimSyncRun,
  enqueueSyncRun,
  findActiveSyncRun,
  finishSyncRun,
  getSyncRun,
  insertSyncRun,
  releaseSyncRun,
  renewSyncRunLease,
} from './sync-run-store.ts'
import { tombstoneMissing } from './tombstone-missing.ts'

/** A full sync's options; see RunOptions for the first, RunHere for the others. */
export type SyncAllOptions = Partial<SyncRunOptions> & Partial<Omit<InProcessRunOptions, 'options'>>

const DEFAULT_LEASE_SECONDS = 60

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
  return runSyncInProcess(action, {
    startedBy: 'code',
    leaseSeconds: DEFAULT_LEASE_SECONDS,
    signal: new AbortController().signal,
    ...work,
    options: { ids, since, force, dryRun },
  })
}

type InProcessRunOptions = {
  startedBy: SyncRunStarter
  options: SyncRunOptions
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
export async function runSyncInProcess(
  action: StripeSyncAction<StripeObject>,
  work: InProcessRunOptions,
): Promise<SyncRun> {
  const { db } = action.context
  const { run, isResumed } = await withTenant(db, action.context, (trx) =>
    startOrTakeOver(trx, action, work),
  )
  work.onBegin?.(run, isResumed)
  const { signal, onProgress } = work
  await executeClaimedRun(
    {
      action,
      options: {
        leaseSeconds: runLeaseSeconds(work.leaseSeconds),
        signal,
        whenAborted: 'cancel',
        isRetried: false,
        ...(onProgress === undefined ? {} : { onProgress }),
      },
    },
    run,
  )
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  return withTenant(db, ref, (trx) => getSyncRun(trx, ref))
}

/** Inserted and taken by one commit: nobody else ever sees the run unheld. */
async function startOrTakeOver(
  trx: Tx,
  action: StripeSyncAction<StripeObject>,
  { startedBy, options, leaseSeconds }: InProcessRunOptions,
): Promise<{ run: ClaimedSyncRun; isResumed: boolean }> {
  const { conferenceId } = action.context
  const resource = action.resource.name
  const active = await findActiveSyncRun(trx, conferenceId, resource)
  if (active !== null && !isSameRequest(active.options, options)) throw otherRunActive(active)
  const { id } =
    active ?? (await insertSyncRun(trx, { conferenceId, resource, startedBy, options }))
  const ref = { conferenceId, runId: id }
  const run = await claimSyncRun(trx, ref, runLeaseSeconds(leaseSeconds))
  if (run === null) throw heldByAnotherProcess(resource, id)
  if (isServiceAction(action)) {
    await enqueueSyncRun(trx, ref, new Date(Date.now() + runLeaseSeconds(leaseSeconds) * 1000))
  }
  return { run, isResumed: active !== null }
}

/** A worker would go on with the resource's own action, so not with the hooks of any other. */
function isServiceAction({ resource, context, constructor }: StripeSyncAction<StripeObject>) {
  return resource.createAction(context).constructor === constructor
}

function isSameRequest(one: SyncRunOptions, other: SyncRunOptions): boolean {
  return (
    one.dryRun === other.dryRun &&
    one.force === other.force &&
    one.since?.getTime() === other.since?.getTime() &&
    JSON.stringify(one.ids?.toSorted()) === JSON.stringify(other.ids?.toSorted())
  )
}

function otherRunActive({ id, resource }: SyncRun): AppError {
  return syncRunning(
    id,
    `Run ${id} of ${resource} has not ended yet, and asks for something else. Wait for it or cancel it.`,
  )
}

function heldByAnotherProcess(resource: string, id: string): AppError {
  return syncRunning(id, `Another process works on run ${id} of ${resource}.`)
}

function syncRunning(id: string, message: string): AppError {
  return new AppError('sync_running', message, { extra: { sync_run: id } })
}

export type ExecuteOptions = {
  /** How long the run stays ours without a sign of life. */
  leaseSeconds: number
  /** Ends the work early; see `whenAborted`. */
  signal: AbortSignal
  /** `release`: another process goes on. `cancel`: the run has ended. */
  whenAborted: 'release' | 'cancel'
  /** True when somebody will try again after an error that may pass; else every error ends the run. */
  isRetried: boolean
  /** Told after each step. */
  onProgress?: (run: SyncRun) => void
}

/** `held`: another process is at it, or it has ended. `released`: given back, to go on later. */
export type ExecutionResult = 'ended' | 'held' | 'released'

/** What a run needs to be worked on. */
export type SyncRunWork = {
  action: StripeSyncAction<StripeObject>
  options: ExecuteOptions
}

/**
 * Takes a run, works on it from where it stands to its end, and writes that down. What Stripe refuses
 * ends it as `failed`, with Stripe's words.
 *
 * @throws whatever else stopped it (the database, Stripe for too long): the run stays as it is and is
 * free for the next try.
 */
export async function executeSyncRun(
  work: SyncRunWork & { ref: SyncRunRef },
): Promise<ExecutionResult> {
  const { action, ref, options } = work
  const run = await withTenant(action.context.db, ref, (trx) =>
    claimSyncRun(trx, ref, options.leaseSeconds),
  )
  return run === null ? 'held' : executeClaimedRun(work, run)
}

/** The same for a run that this process has taken already. */
async function executeClaimedRun(work: SyncRunWork, run: ClaimedSyncRun): Promise<ExecutionResult> {
  const renewal = keepLease(work, run)
  let progress: SyncRunProgress | null = null
  try {
    progress = await SyncRunProgress.begin(work.action, run, work.options)
    await performRun(progress)
    return await endRun(work, run, progress.verdict())
  } catch (error) {
    if (progress?.isLost === true) return 'held'
    return await stopRun(work, run, error)
  } finally {
    clearInterval(renewal)
  }
}

/** Renews the lease even while nothing is written: Stripe may be away for minutes. */
function keepLease({ action, options }: SyncRunWork, run: ClaimedSyncRun): NodeJS.Timeout {
  const renew = () =>
    withTenant(action.context.db, run, (trx) => renewSyncRunLease(trx, run, options.leaseSeconds))
  return setInterval(() => void renew().catch(() => {}), (options.leaseSeconds * 1000) / 3)
}

async function performRun(progress: SyncRunProgress): Promise<void> {
  if (progress.run.options.ids !== null) return storeByIds(progress, progress.run.options.ids)
  await listAndStore(progress)
  const isComplete = progress.run.options.since === null
  if (isComplete && progress.action.resource.deletable) await tombstoneMissing(progress)
}

async function endRun(
  { action, options }: SyncRunWork,
  run: ClaimedSyncRun,
  verdict: Parameters<typeof finishSyncRun>[2],
): Promise<ExecutionResult> {
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  const ended = await withTenant(action.context.db, ref, async (trx) => {
    return (await finishSyncRun(trx, run, verdict)) ? getSyncRun(trx, ref) : null
  })
  if (ended === null) return 'held'
  options.onProgress?.(ended)
  return 'ended'
}

async function stopRun(
  work: SyncRunWork,
  run: ClaimedSyncRun,
  thrown: unknown,
): Promise<ExecutionResult> {
  const { action, options } = work
  const { signal, whenAborted, isRetried } = options
  if (signal.aborted && whenAborted === 'cancel') {
    return endRun(work, run, { state: 'cancelled', error: null })
  }
  const error = toSyncError(thrown)
  if (!signal.aborted && (!isRetried || isPermanentError(error.code))) {
    return endRun(work, run, { state: 'failed', error })
  }
  await withTenant(action.context.db, run, (trx) => releaseSyncRun(trx, run))
  if (signal.aborted) return 'released'
  throw thrown
}

/** True for what will be the same at the next try. */
function isPermanentError(code: SyncError['code']): boolean {
  return PERMANENT_ERROR_CODES.has(code)
}

const PERMANENT_ERROR_CODES = new Set([
  'stripe_refused',
  'stripe_key_missing',
  'mass_deletion_refused',
])

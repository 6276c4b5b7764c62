import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import type { SyncAction } from '../stripe-resource.ts'
import { mustWait, toSyncError } from '../sync-outcome.ts'
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
import { searchesMissing, tombstoneMissing } from './tombstone-missing.ts'

export type SyncAllOptions = Partial<SyncRunOptions> & Partial<Omit<InProcessRunOptions, 'options'>>

const DEFAULT_LEASE_SECONDS = 60

/**
 * Syncs all objects of a resource, or those that the options select, in this process.
 *
 * @returns the run after its end; check its `state`.
 * @throws AppError `sync_running` while another run of the resource is active.
 */
export function syncAll(action: SyncAction, syncOptions: SyncAllOptions = {}): Promise<SyncRun> {
  const { ids, since, force, dryRun, ...runOptions } = { ...NO_OPTIONS, ...syncOptions }
  return runSyncInProcess(action, {
    startedBy: 'code',
    leaseSeconds: DEFAULT_LEASE_SECONDS,
    signal: new AbortController().signal,
    ...runOptions,
    options: { ids, since, force, dryRun },
  })
}

type InProcessRunOptions = {
  startedBy: SyncRunStarter
  options: SyncRunOptions
  /** LEASE_SECONDS: if this process dies, a worker resumes the run within this time. */
  leaseSeconds: number
  /** Ends the run as `cancelled` after the current step is stored. */
  signal: AbortSignal
  /** Called once, before the first request. `isResumed`: another process started the run. */
  onBegin?: (run: SyncRun, isResumed: boolean) => void
  /** Called after each step, which stores a page or some that arrived together. */
  onProgress?: (run: SyncRun) => void
}

/**
 * Executes a whole run in this process. Takes over an active run of the resource if it has the same
 * options and no process holds it.
 *
 * @returns the run after its end; check its `state`.
 * @throws AppError `sync_running` while another run of the resource is active.
 */
export async function runSyncInProcess(
  action: SyncAction,
  runOptions: InProcessRunOptions,
): Promise<SyncRun> {
  const { db } = action.context
  const { run, isResumed } = await withTenant(db, action.context, (trx) =>
    startOrTakeOver(trx, action, runOptions),
  )
  const { leaseSeconds, signal, onBegin, onProgress } = runOptions
  onBegin?.(run, isResumed)
  const options: ExecuteOptions = {
    leaseSeconds: runLeaseSeconds(leaseSeconds),
    signal,
    whenAborted: 'cancel',
    isRetried: false,
    ...(onProgress === undefined ? {} : { onProgress }),
  }
  await executeClaimedRun({ action, options }, run)
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  return withTenant(db, ref, (trx) => getSyncRun(trx, ref))
}

/** Inserts and claims the run in one transaction, so no other process can claim it first. */
async function startOrTakeOver(
  trx: Tx,
  action: SyncAction,
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

/**
 * True for the action that the service itself uses. If the action is another subclass, no worker may
 * resume the run, because the worker would not run the hooks of that subclass.
 */
function isServiceAction({ resource, context, constructor }: SyncAction) {
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
    `The sync run ${id} of ${resource} is active with other options. Wait until it ends, or cancel it.`,
  )
}

function heldByAnotherProcess(resource: string, id: string): AppError {
  return syncRunning(
    id,
    `The sync run ${id} of ${resource} is active in another process. Wait until it ends, or cancel it.`,
  )
}

function syncRunning(id: string, message: string): AppError {
  return new AppError('sync_running', message, { extra: { sync_run: id } })
}

export type ExecuteOptions = {
  /** How long this process holds the run without renewing its lease. */
  leaseSeconds: number
  /** Stops the work early; see `whenAborted`. */
  signal: AbortSignal
  /** `release`: another process resumes the run. `cancel`: the run ends. */
  whenAborted: 'release' | 'cancel'
  /** True if the caller retries after a temporary error. Otherwise every error ends the run. */
  isRetried: boolean
  /** Called after each step. */
  onProgress?: (run: SyncRun) => void
}

/** `held`: another process holds the run, or it has ended. `released`: to be resumed later. */
export type ExecutionResult = 'ended' | 'held' | 'released'

type SyncRunWork = {
  action: SyncAction
  options: ExecuteOptions
}

/**
 * Claims a run and executes it from its cursor to its end. An error that a retry cannot repair, such as
 * a refusal by Stripe, ends the run as `failed`.
 *
 * @throws any other error, such as a database error or a long outage of Stripe. The run is released
 * first, so it can be retried from its cursor.
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

async function executeClaimedRun(work: SyncRunWork, run: ClaimedSyncRun): Promise<ExecutionResult> {
  const renewal = keepLease(work, run)
  let progress: SyncRunProgress | null = null
  try {
    progress = await SyncRunProgress.begin(work.action, run, work.options)
    await performRun(progress)
    return await endRun(work, run, progress.result())
  } catch (error) {
    if (progress?.isLost === true) return 'held'
    return await stopRun(work, run, error)
  } finally {
    clearInterval(renewal)
  }
}

/** Renews the lease, also while nothing is written: Stripe can be unavailable for minutes. */
function keepLease({ action, options }: SyncRunWork, run: ClaimedSyncRun): NodeJS.Timeout {
  const renew = () =>
    withTenant(action.context.db, run, (trx) => renewSyncRunLease(trx, run, options.leaseSeconds))
  return setInterval(() => void renew().catch(() => {}), (options.leaseSeconds * 1000) / 3)
}

async function performRun(progress: SyncRunProgress): Promise<void> {
  if (progress.run.options.ids !== null) return storeByIds(progress, progress.run.options.ids)
  await listAndStore(progress)
  if (searchesMissing(progress)) await tombstoneMissing(progress)
}

async function endRun(
  { action, options }: SyncRunWork,
  run: ClaimedSyncRun,
  result: Parameters<typeof finishSyncRun>[2],
): Promise<ExecutionResult> {
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  const ended = await withTenant(action.context.db, ref, async (trx) => {
    return (await finishSyncRun(trx, run, result)) ? getSyncRun(trx, ref) : null
  })
  if (ended === null) return 'held'
  options.onProgress?.(ended)
  return 'ended'
}

/** Errors that a retry cannot repair. */
const PERMANENT_ERROR_CODES = new Set([
  'stripe_refused',
  'stripe_key_missing',
  'mass_deletion_refused',
])

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
  // The job of the run waits without using up an attempt, so none is the last one.
  const isParked = whenAborted === 'release' && mustWait(thrown)
  if (!signal.aborted && !isParked && (!isRetried || PERMANENT_ERROR_CODES.has(error.code))) {
    return endRun(work, run, { state: 'failed', error })
  }
  await withTenant(action.context.db, run, (trx) => releaseSyncRun(trx, run))
  if (signal.aborted) return 'released'
  throw thrown
}

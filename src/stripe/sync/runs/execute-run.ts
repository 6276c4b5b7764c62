import { withTenant } from '../../../db/tenant-scope.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import { toSyncError } from '../sync-error.ts'
import type { SyncError } from '../sync-outcome.ts'
import { deleteMissing } from './delete-missing.ts'
import { listAndStore } from './list-and-store.ts'
import { RunProgress } from './run-progress.ts'
import { type ClaimedRun, claimRun, finishRun, getRun, releaseRun, renewRun } from './run-store.ts'
import { storeByIds } from './store-by-ids.ts'
import type { RunRef, SyncRun } from './sync-run.ts'

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
export type Executed = 'ended' | 'held' | 'released'

/** What a run needs to be worked on. */
export type RunWork = {
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
export async function executeRun(work: RunWork & { ref: RunRef }): Promise<Executed> {
  const { action, ref, options } = work
  const run = await withTenant(action.context.db, ref, (trx) =>
    claimRun(trx, ref, options.leaseSeconds),
  )
  return run === null ? 'held' : executeClaimed(work, run)
}

/** The same for a run that this process has taken already. */
export async function executeClaimed(work: RunWork, run: ClaimedRun): Promise<Executed> {
  const renewal = keepLease(work, run)
  let progress: RunProgress | null = null
  try {
    progress = await RunProgress.begin(work.action, run, work.options)
    await perform(progress)
    return await end(work, run, progress.verdict())
  } catch (error) {
    if (progress?.isLost === true) return 'held'
    return await stop(work, run, error)
  } finally {
    clearInterval(renewal)
  }
}

/** Renews the lease even while nothing is written: Stripe may be away for minutes. */
function keepLease({ action, options }: RunWork, run: ClaimedRun): NodeJS.Timeout {
  const renew = () =>
    withTenant(action.context.db, run, (trx) => renewRun(trx, run, options.leaseSeconds))
  return setInterval(() => void renew().catch(() => {}), (options.leaseSeconds * 1000) / 3)
}

async function perform(progress: RunProgress): Promise<void> {
  if (progress.run.options.ids !== null) return storeByIds(progress, progress.run.options.ids)
  await listAndStore(progress)
  const isComplete = progress.run.options.since === null
  if (isComplete && progress.action.resource.deletable) await deleteMissing(progress)
}

async function end(
  { action, options }: RunWork,
  run: ClaimedRun,
  verdict: Parameters<typeof finishRun>[2],
): Promise<Executed> {
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  const ended = await withTenant(action.context.db, ref, async (trx) => {
    return (await finishRun(trx, run, verdict)) ? getRun(trx, ref) : null
  })
  if (ended === null) return 'held'
  options.onProgress?.(ended)
  return 'ended'
}

async function stop(work: RunWork, run: ClaimedRun, thrown: unknown): Promise<Executed> {
  const { action, options } = work
  const { signal, whenAborted, isRetried } = options
  if (signal.aborted && whenAborted === 'cancel') {
    return end(work, run, { state: 'cancelled', error: null })
  }
  const error = toSyncError(thrown)
  if (!signal.aborted && (!isRetried || isFinal(error.code))) {
    return end(work, run, { state: 'failed', error })
  }
  await withTenant(action.context.db, run, (trx) => releaseRun(trx, run))
  if (signal.aborted) return 'released'
  throw thrown
}

/** True for what will be the same at the next try. */
function isFinal(code: SyncError['code']): boolean {
  return FINAL_CODES.has(code)
}

const FINAL_CODES = new Set(['stripe_refused', 'stripe_key_missing', 'mass_deletion_refused'])

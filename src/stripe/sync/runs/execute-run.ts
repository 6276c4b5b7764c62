import { withTenant } from '../../../db/tenant-scope.ts'
import { type StripeObject } from '../stripe-object.ts'
import type { StripeSyncAction } from '../stripe-sync-action.ts'
import { toSyncError } from '../sync-error.ts'
import type { SyncError } from '../sync-outcome.ts'
import { deleteMissing } from './delete-missing.ts'
import { listAndStore } from './list-and-store.ts'
import { RunProgress } from './run-progress.ts'
import { claimRun, finishRun, getRun, releaseRun, renewRun } from './run-store.ts'
import { storeByIds } from './store-by-ids.ts'
import { type RunRef, type SyncRun } from './sync-run.ts'

export type ExecuteOptions = {
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
  ref: RunRef
  options: ExecuteOptions
}

/**
 * Works on a run from where it stands to its end, and writes that down. What Stripe refuses ends it
 * as `failed`, with Stripe's words.
 *
 * @throws whatever else stopped it (the database, Stripe for too long): the run stays as it is and is
 * free for the next try.
 */
export async function executeRun(work: RunWork): Promise<Executed> {
  const { action, ref, options } = work
  const { db } = action.context
  const run = await withTenant(db, ref, (trx) => claimRun(trx, ref, options.leaseSeconds))
  if (run === null) return 'held'
  const progress = await RunProgress.begin(action, run, options)
  const renewal = setInterval(
    () => {
      void withTenant(db, ref, (trx) => renewRun(trx, run, options.leaseSeconds)).catch(() => {})
    },
    (options.leaseSeconds * 1000) / 3,
  )
  try {
    await perform(progress)
    return await end(work, progress, progress.verdict())
  } catch (error) {
    return await stop(work, progress, error)
  } finally {
    clearInterval(renewal)
  }
}

async function perform(progress: RunProgress): Promise<void> {
  if (progress.run.options.ids !== null) return storeByIds(progress, progress.run.options.ids)
  await listAndStore(progress)
  const isComplete = progress.run.options.since === null
  if (isComplete && progress.action.resource.deletable) await deleteMissing(progress)
}

async function end(
  { action, ref }: RunWork,
  progress: RunProgress,
  verdict: Parameters<typeof finishRun>[2],
): Promise<Executed> {
  const { db } = action.context
  const ended = await withTenant(db, ref, (trx) => finishRun(trx, progress.run, verdict))
  if (ended) progress.tell(await withTenant(db, ref, (trx) => getRun(trx, ref)))
  return ended ? 'ended' : 'held'
}

async function stop(work: RunWork, progress: RunProgress, thrown: unknown): Promise<Executed> {
  const { action, ref, options } = work
  if (progress.isLost) return 'held'
  if (options.signal.aborted && options.whenAborted === 'cancel') {
    return end(work, progress, { state: 'cancelled', error: null })
  }
  const error = toSyncError(thrown)
  if (!options.signal.aborted && (!options.isRetried || isFinal(error.code))) {
    return end(work, progress, { state: 'failed', error })
  }
  await withTenant(action.context.db, ref, (trx) => releaseRun(trx, progress.run))
  if (options.signal.aborted) return 'released'
  throw thrown
}

/** True for what will be the same at the next try. */
function isFinal(code: SyncError['code']): boolean {
  return FINAL_CODES.has(code)
}

const FINAL_CODES = new Set(['stripe_refused', 'stripe_key_missing', 'mass_deletion_refused'])

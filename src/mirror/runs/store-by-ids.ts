import { inParallel } from '../../shared/in-parallel.ts'
import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { databaseNow } from '../fetch-time.ts'
import type { MirrorRow } from '../mirror-column.ts'
import { foreignIdMessage, isForeignId } from '../stripe-resource.ts'
import { type SyncedId, toSyncError } from '../sync-outcome.ts'
import { retryWithBackoff } from './retry-with-backoff.ts'
import type { SyncRunCounts } from './sync-run.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'

/** Ids that are processed before the progress is saved. */
const BATCH_SIZE = 50
const CONCURRENCY = 6

/** Fetches and stores the objects that the run names by id, starting at the cursor. */
export async function storeByIds(progress: SyncRunProgress, ids: readonly string[]): Promise<void> {
  const { cursor } = progress.run
  const start = cursor?.by === 'ids' ? cursor.done : 0
  for (let done = start; done < ids.length; done += BATCH_SIZE) {
    const batch = ids.slice(done, done + BATCH_SIZE)
    if (progress.isDry) await compareBatch(progress, batch, done)
    else await storeBatch(progress, batch, done)
  }
}

async function storeBatch(progress: SyncRunProgress, ids: string[], before: number): Promise<void> {
  progress.signal.throwIfAborted()
  const results = await progress.action.syncByIds(ids, progress.signal)
  progress.signal.throwIfAborted()
  const counts = { fetched: 0, created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 }
  for (const result of results) countResult(progress, counts, result)
  await progress.save({
    ...progress.emptyStep(),
    counts,
    requests: ids.length,
    cursor: { by: 'ids', done: before + ids.length },
  })
}

function countResult(progress: SyncRunProgress, counts: SyncRunCounts, result: SyncedId): void {
  const { id } = result
  if (result.result === 'failed') {
    counts.failed += 1
    progress.note({ id, outcome: 'failed', message: result.error.message })
  } else if (result.result === 'gone') {
    counts.deleted += 1
    progress.note({ id, outcome: 'deleted', message: null })
  } else {
    counts.fetched += 1
    const { outcome } = result
    if (outcome === 'created' || outcome === 'updated') counts[outcome] += 1
    else if (outcome !== 'foreign') counts.unchanged += 1
  }
}

/** Dry run: compares the fetched objects with the stored rows. */
async function compareBatch(
  progress: SyncRunProgress,
  ids: string[],
  before: number,
): Promise<void> {
  const asOf = await databaseNow(progress.db)
  const fetched = await inParallel(ids, CONCURRENCY, (id) => fetchRow(progress, id))
  const rows: MirrorRow[] = []
  const counts = { fetched: 0, deleted: 0, failed: 0 }
  for (const result of fetched) {
    counts[result.outcome] += 1
    if (result.outcome !== 'fetched') progress.note(result)
    else if (result.row !== null) rows.push(result.row)
  }
  await progress.save({
    rows,
    asOf,
    listed: null,
    counts,
    requests: ids.length,
    cursor: { by: 'ids', done: before + ids.length },
  })
}

type FetchedRow =
  | { outcome: 'fetched'; row: MirrorRow | null }
  | { outcome: 'deleted' | 'failed'; id: string; message: string | null }

async function fetchRow(progress: SyncRunProgress, id: string): Promise<FetchedRow> {
  const { action, signal } = progress
  if (isForeignId(action.resource, id)) {
    return { outcome: 'failed', id, message: foreignIdMessage(action.resource, id) }
  }
  try {
    const object = await fetchObject(progress, id)
    if (object === null) return { outcome: 'deleted', id, message: null }
    return { outcome: 'fetched', row: await action.toRow(object) }
  } catch (error) {
    signal.throwIfAborted()
    return { outcome: 'failed', id, message: toSyncError(error).message }
  }
}

/** Fetches one complete object, with retries. Returns null if Stripe does not have it. */
export async function fetchObject(
  { action: { resource }, connection: { stripe }, signal }: SyncRunProgress,
  id: string,
): Promise<StripeObject | null> {
  try {
    const object = await retryWithBackoff(() => resource.retrieve(stripe, id), signal)
    if (object.deleted === true) return null
    const complete = async () => (await resource.complete?.(stripe, object)) ?? object
    return await retryWithBackoff(complete, signal)
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

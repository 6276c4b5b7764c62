import { inParallel } from '../../shared/in-parallel.ts'
import { isMissing } from '../../stripe/stripe-errors.ts'
import { databaseNow } from '../fetch-time.ts'
import { isForeignId } from '../stripe-resource.ts'
import { type SyncedId, toSyncError } from '../sync-outcome.ts'
import type { MirrorRow } from '../write-mirror-rows.ts'
import { retryWithBackoff } from './retry-with-backoff.ts'
import type { SyncRunCounts } from './sync-run.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'

/** Ids that are done before the progress is written. */
const BATCH_SIZE = 50
const CONCURRENCY = 6

/** Reads and stores the run's own ids, from where it stands. */
export async function storeByIds(progress: SyncRunProgress, ids: readonly string[]): Promise<void> {
  const { cursor } = progress.run
  const start = cursor?.by === 'ids' ? cursor.done : 0
  for (let done = start; done < ids.length; done += BATCH_SIZE) {
    const group = ids.slice(done, done + BATCH_SIZE)
    if (progress.isDry) await compareBatch(progress, group, done)
    else await storeBatch(progress, group, done)
  }
}

async function storeBatch(progress: SyncRunProgress, ids: string[], before: number): Promise<void> {
  progress.signal.throwIfAborted()
  const results = await progress.action.syncByIds(ids, progress.signal)
  progress.signal.throwIfAborted()
  const counts = { fetched: 0, created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 }
  for (const result of results) countResult(progress, counts, result)
  await progress.save({
    ...progress.idle(),
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

async function compareBatch(
  progress: SyncRunProgress,
  ids: string[],
  before: number,
): Promise<void> {
  const asOf = await databaseNow(progress.db)
  const looks = await inParallel(ids, CONCURRENCY, (id) => fetchRow(progress, id))
  const rows: MirrorRow[] = []
  const counts = { fetched: 0, deleted: 0, failed: 0 }
  for (const found of looks) {
    counts[found.outcome] += 1
    if (found.outcome !== 'fetched') progress.note(found)
    else if (found.row !== null) rows.push(found.row)
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

/** What storing this id would find; it fails alone, as it would there. */
async function fetchRow(
  { action, connection, signal }: SyncRunProgress,
  id: string,
): Promise<FetchedRow> {
  const { resource } = action
  if (isForeignId(resource, id)) {
    return { outcome: 'failed', id, message: `${id} is not the id of one of ${resource.name}.` }
  }
  try {
    const object = await retryWithBackoff(() => resource.retrieve(connection.stripe, id), signal)
    if (object.deleted === true) return { outcome: 'deleted', id, message: null }
    const whole = await retryWithBackoff(
      async () => (await resource.complete?.(connection.stripe, object)) ?? object,
      signal,
    )
    return { outcome: 'fetched', row: await action.toRow(whole) }
  } catch (error) {
    signal.throwIfAborted()
    if (isMissing(error)) return { outcome: 'deleted', id, message: null }
    return { outcome: 'failed', id, message: toSyncError(error).message }
  }
}

import { withTenant } from '../../db/tenant-scope.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import type { FetchTime } from '../fetch-time.ts'
import type { RowText } from '../mirror-column.ts'
import { foreignIdMessage, isForeignId, tableOf } from '../stripe-resource.ts'
import { mustWait, toSyncError } from '../sync-outcome.ts'
import { type FetchedObject, fetchObject, MassDeletionGuard, tombstone } from './gone-objects.ts'
import { COUNT_NAMES, type SyncRunCounts } from './sync-run.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'

/** Ids that are processed before the progress is saved. */
const BATCH_SIZE = 50
const CONCURRENCY = 6

/**
 * Fetches and stores the objects that the run names by id, starting at the cursor. Rows of objects that
 * Stripe does not have become tombstones at the end, if the guard allows it.
 *
 * @throws MassDeletionRefused if the run is not forced and more than 20 % of the named objects, and more
 * than ten, would become tombstones.
 */
export async function storeByIds(
  progress: SyncRunProgress,
  requested: readonly string[],
): Promise<void> {
  const ids = [...new Set(requested)]
  const { cursor } = progress.run
  const start = cursor?.by === 'ids' ? cursor : { done: 0, gone: [] }
  const gone = [...start.gone]
  const guard = new MassDeletionGuard(progress, { total: ids.length, candidates: ids.length })
  for (let { done } = start; done < ids.length; done += BATCH_SIZE) {
    const batch = ids.slice(done, done + BATCH_SIZE)
    gone.push(...(await storeBatch(progress, batch, { done: done + batch.length, gone })))
    guard.check(gone.length, done + batch.length)
  }
  if (!progress.isDry) guard.checkAll(gone.length)
  await tombstone(progress, gone, { by: 'ids', done: ids.length, gone: [] })
  if (progress.isDry) guard.checkAll(gone.length)
}

type GoneObject = { id: string; asOf: FetchTime }

/** Returns the objects that have a live row and that Stripe does not have. */
async function storeBatch(
  progress: SyncRunProgress,
  ids: readonly string[],
  after: { done: number; gone: readonly GoneObject[] },
): Promise<GoneObject[]> {
  // The keys of SyncRunCounts.
  const counts = Object.fromEntries(COUNT_NAMES.map((name) => [name, 0])) as SyncRunCounts
  const results = await inParallel(ids, CONCURRENCY, (id) => fetchAndStore(progress, id, counts))
  const missing = results.flatMap((result) => (result?.object === null ? [result] : []))
  const live = await findLiveIds(
    progress,
    missing.map(({ id }) => id),
  )
  const gone = missing.flatMap(({ id, asOf }) => (live.has(id) ? [{ id, asOf }] : []))
  // Neither Stripe nor the mirror has the others.
  counts.unchanged += missing.length - gone.length
  const rows = results.flatMap((result) => result?.row ?? [])
  await progress.save({
    rows,
    listed: null,
    counts,
    requests: ids.length,
    cursor: { by: 'ids', done: after.done, gone: [...after.gone, ...gone] },
  })
  return gone
}

type StoredObject = FetchedObject & {
  /** The row that a dry run compares with the stored one. */
  row: RowText | null
}

/** Null if the object could not be fetched or stored. That does not affect the others. */
async function fetchAndStore(
  progress: SyncRunProgress,
  id: string,
  counts: SyncRunCounts,
): Promise<StoredObject | null> {
  const { action, signal, isDry } = progress
  try {
    if (isForeignId(action.resource, id)) throw new Error(foreignIdMessage(action.resource, id))
    // A person named the ids and waits for the run. The SDK itself repeats a request twice.
    const fetched = await fetchObject(progress, id, async (request) => request())
    const { object, asOf } = fetched
    if (object === null) return { ...fetched, row: null }
    counts.fetched += 1
    if (isDry) {
      const [isOurs] = await action.findOwned([object])
      return { ...fetched, row: isOurs ? await action.toRow(object, asOf) : null }
    }
    const { outcome } = await action.sync(object, asOf)
    if (outcome === 'created' || outcome === 'updated') counts[outcome] += 1
    else if (outcome !== 'foreign') counts.unchanged += 1
    return { ...fetched, row: null }
  } catch (error) {
    signal.throwIfAborted()
    // Not a failure of the object. The run resumes with this batch.
    if (mustWait(error)) throw error
    counts.failed += 1
    progress.note({ id, outcome: 'failed', message: toSyncError(error).message })
    return null
  }
}

async function findLiveIds(
  { db, run, action }: SyncRunProgress,
  ids: readonly string[],
): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  const live = await withTenant(db, run, (trx) =>
    trx(tableOf(action.resource))
      .where({ conference_id: run.conferenceId, deleted_at: null })
      .whereIn('id', [...ids])
      .pluck<string[]>('id'),
  )
  return new Set(live)
}

import { inParallel } from '../../in-parallel.ts'
import { isMissing } from '../../stripe-errors.ts'
import { readingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { SyncedId } from '../sync-outcome.ts'
import type { RunProgress } from './run-progress.ts'
import type { RunCounts } from './sync-run.ts'
import { withPatience } from './with-patience.ts'

/** Ids that are done before the progress is written. */
const GROUP = 50
const AT_ONCE = 6

/** Reads and stores the run's own ids, from where it stands. */
export async function storeByIds(progress: RunProgress, ids: readonly string[]): Promise<void> {
  const { cursor } = progress.run
  const start = cursor?.by === 'ids' ? cursor.done : 0
  for (let done = start; done < ids.length; done += GROUP) {
    const group = ids.slice(done, done + GROUP)
    if (progress.isDry) await compareGroup(progress, group, done)
    else await storeGroup(progress, group, done)
  }
}

async function storeGroup(progress: RunProgress, ids: string[], before: number): Promise<void> {
  progress.signal.throwIfAborted()
  const results = await progress.action.syncByIds(ids, progress.signal)
  progress.signal.throwIfAborted()
  const counts = { fetched: 0, created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 }
  for (const result of results) count(progress, counts, result)
  await progress.save({
    ...progress.idle(),
    counts,
    requests: ids.length,
    cursor: { by: 'ids', done: before + ids.length },
  })
}

function count(progress: RunProgress, counts: RunCounts, result: SyncedId): void {
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

async function compareGroup(progress: RunProgress, ids: string[], before: number): Promise<void> {
  const { action, connection, signal } = progress
  const asOf = await readingTime(progress.db)
  const objects = await inParallel(ids, AT_ONCE, async (id): Promise<StripeObject | null> => {
    try {
      const object = await withPatience(
        () => action.resource.retrieve(connection.stripe, id),
        signal,
      )
      return object.deleted === true ? null : object
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  })
  const living = objects.filter((object) => object !== null)
  const rows = await Promise.all(living.map((object) => action.toRow(object)))
  const gone = ids.filter((_, index) => objects[index] === null)
  for (const id of gone) progress.note({ id, outcome: 'deleted', message: null })
  await progress.save({
    rows: rows.filter((row) => row !== null),
    asOf,
    listed: null,
    counts: { fetched: living.length, deleted: gone.length },
    requests: ids.length,
    cursor: { by: 'ids', done: before + ids.length },
  })
}

import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { databaseNow, type FetchTime, toTimestampSql } from '../fetch-time.ts'
import { type StripeResource, tableOf } from '../stripe-resource.ts'
import { MassDeletionRefused } from '../sync-outcome.ts'
import { writeTombstones } from '../write-mirror-rows.ts'
import { fetchObject } from './store-by-ids.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'
import type { ClaimedSyncRun } from './sync-run-store.ts'

const CONCURRENCY = 6

type FetchedObject = { id: string; asOf: FetchTime; object: StripeObject | null }

/**
 * After a complete listing: fetches each live row that was not listed, and turns the rows of objects
 * that Stripe does not have into tombstones.
 *
 * @throws MassDeletionRefused if the run is not forced and more than 20 % of the rows, and more than ten,
 * would become tombstones. Then no row is changed.
 */
export async function tombstoneMissing(progress: SyncRunProgress): Promise<void> {
  const { db, run, action } = progress
  const live = await countLiveRows(db, action.resource, run.conferenceId)
  const deleted: FetchedObject[] = []
  for await (const ids of listMissingIds(db, action.resource, run)) {
    const fetched = await inParallel(ids, CONCURRENCY, (id) => fetchMissing(progress, id))
    await storeExisting(progress, fetched)
    deleted.push(...fetched.filter(({ object }) => object === null))
    if (run.options.force) await tombstone(progress, deleted.splice(0))
    else if (!progress.isDry) assertNoMassDeletion(deleted.length, live)
  }
  await tombstone(progress, deleted)
  // A dry run lists all of them before it fails.
  if (progress.isDry && !run.options.force) assertNoMassDeletion(deleted.length, live)
}

/** This number of tombstones is always allowed. */
const MIN_MASS_DELETION = 10
const MASS_DELETION_SHARE = 0.2

/** Many missing objects suggest another cause, such as the key of another account or an empty list. */
function assertNoMassDeletion(missing: number, live: number): void {
  if (missing <= MIN_MASS_DELETION || missing <= live * MASS_DELETION_SHARE) return
  throw new MassDeletionRefused(
    `At least ${missing} of ${live} objects no longer exist at Stripe. Nothing was marked as deleted. ` +
      'Check the Stripe key. If the objects were really deleted, repeat the sync with `force`.',
  )
}

async function fetchMissing(progress: SyncRunProgress, id: string): Promise<FetchedObject> {
  progress.signal.throwIfAborted()
  const asOf = await databaseNow(progress.db)
  return { id, asOf, object: await fetchObject(progress, id) }
}

/** Stores objects that exist but were not listed: the listing missed them, or they are detached. */
async function storeExisting(
  progress: SyncRunProgress,
  fetched: readonly FetchedObject[],
): Promise<void> {
  const counts = { created: 0, updated: 0, unchanged: 0 }
  for (const { object, asOf } of fetched) {
    if (object === null || progress.isDry) continue
    const { outcome } = await progress.action.sync(object, asOf)
    if (outcome === 'updated' || outcome === 'created') counts[outcome] += 1
    else counts.unchanged += 1
  }
  await progress.save({ ...progress.emptyStep(), counts, requests: fetched.length })
}

async function tombstone(
  progress: SyncRunProgress,
  deleted: readonly FetchedObject[],
): Promise<void> {
  if (deleted.length === 0) return
  const { db, run, action } = progress
  for (const { id, asOf } of deleted) {
    progress.note({ id, outcome: 'deleted', message: null })
    if (progress.isDry) continue
    await writeTombstones(db, action.resource, run.conferenceId, [id], asOf)
  }
  await progress.save({ ...progress.emptyStep(), counts: { deleted: deleted.length } })
}

/** Ids in one batch of `listMissingIds`. */
const BATCH_SIZE = 100

/** Ids that one query finds. Large, because every query reads all listed ids. */
const SEARCH_LIMIT = 10_000

/**
 * The ids of live rows that were stored before a complete listing and are not in it. The objects can
 * still exist, because a listing can miss an object that moves between pages.
 *
 * @returns the ids in order, in batches.
 */
async function* listMissingIds<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  run: Pick<ClaimedSyncRun, 'conferenceId' | 'id' | 'listedFrom'>,
): AsyncGenerator<string[]> {
  for (let after = ''; ; ) {
    const from = after
    const ids = await withTenant(db, run, (trx) =>
      trx(`${tableOf(resource)} as mirror`)
        .where('mirror.conference_id', run.conferenceId)
        .whereNull('mirror.deleted_at')
        .where('mirror.id', '>', from)
        .whereRaw(`mirror.as_of < ${toTimestampSql('?::bigint')}`, [run.listedFrom])
        .whereNotExists(
          trx
            .from(
              trx('sync_run_ids')
                .where({ conference_id: run.conferenceId, run_id: run.id })
                .select(trx.raw('unnest(ids) as id'))
                .as('listed'),
            )
            .whereRaw('listed.id = mirror.id'),
        )
        .whereRaw(resource.unlisted === undefined ? 'true' : `not (${resource.unlisted})`)
        .orderBy('mirror.id')
        .limit(SEARCH_LIMIT)
        .pluck<string[]>('mirror.id'),
    )
    for (let start = 0; start < ids.length; start += BATCH_SIZE) {
      yield ids.slice(start, start + BATCH_SIZE)
    }
    if (ids.length < SEARCH_LIMIT) return
    after = ids.at(-1) ?? ''
  }
}

/** The number of rows of a resource that are not tombstones. */
export async function countLiveRows(
  db: Db,
  resource: { name: string },
  conferenceId: string,
): Promise<number> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx(tableOf(resource))
      .where({ conference_id: conferenceId })
      .whereNull('deleted_at')
      .count<{ count: number }[]>()
      .first(),
  )
  return row?.count ?? 0
}

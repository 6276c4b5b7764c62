import type { Knex } from 'knex'
import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { toTimestampSql } from '../fetch-time.ts'
import { type StripeResource, tableOf } from '../stripe-resource.ts'
import { type FetchedObject, fetchObject, MassDeletionGuard, tombstone } from './gone-objects.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'
import type { ClaimedSyncRun } from './sync-run-store.ts'

const CONCURRENCY = 6

/** Whether the run searches for rows that its listing did not contain. */
export const searchesMissing = ({ run, action }: SyncRunProgress) =>
  run.options.since === null && action.resource.deletable

/**
 * After a complete listing: fetches each live row that was not listed, and turns the rows of objects
 * that Stripe does not have into tombstones.
 *
 * @throws MassDeletionRefused if the run is not forced and more than 20 % of the rows that a listing can
 * contain, and more than ten, would become tombstones. Then no row is changed.
 */
export async function tombstoneMissing(progress: SyncRunProgress): Promise<void> {
  const { db, run, action } = progress
  let guard: MassDeletionGuard | null = null
  const gone: FetchedObject[] = []
  let fetchedCount = 0
  for await (const ids of listMissingIds(db, action.resource, run)) {
    guard ??= new MassDeletionGuard(progress, await countRows(db, action.resource, run))
    const fetched = await inParallel(ids, CONCURRENCY, (id) => fetchObject(progress, id))
    await storeExisting(progress, fetched)
    fetchedCount += fetched.length
    gone.push(...fetched.filter(({ object }) => object === null))
    if (run.options.force) await tombstone(progress, gone.splice(0), progress.cursor)
    else guard.check(gone.length, fetchedCount)
  }
  await tombstone(progress, gone, progress.cursor)
  // A dry run lists all of them before it fails.
  guard?.checkAll(gone.length)
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
  run: ListedRun,
): AsyncGenerator<string[]> {
  for (let after = ''; ; ) {
    const from = after
    const ids = await searchRows(db, run, (trx) =>
      missingRows(trx, resource, run)
        .where('mirror.id', '>', from)
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

/**
 * A run that has just stored its listing knows more rows than the statistics of Postgres. For the few
 * that those expect, a nested loop would do; for 10,000 it takes ten seconds.
 */
function searchRows<T>(db: Db, run: ListedRun, search: (trx: Tx) => PromiseLike<T>): Promise<T> {
  return withTenant(db, run, async (trx) => {
    await trx.raw('set local enable_nestloop = off')
    return search(trx)
  })
}

type ListedRun = Pick<ClaimedSyncRun, 'conferenceId' | 'id' | 'listedFrom'>

/** Live rows that a complete listing can contain. */
const listableRows = (
  trx: Tx,
  resource: Pick<StripeResource, 'name' | 'unlisted'>,
  { conferenceId }: ListedRun,
) =>
  trx(`${tableOf(resource)} as mirror`)
    .where('mirror.conference_id', conferenceId)
    .whereNull('mirror.deleted_at')
    .whereRaw(resource.unlisted === undefined ? 'true' : `(${resource.unlisted}) is not true`)

/** Those of them that were stored before the listing and that it did not contain. */
const missingRows = (
  trx: Tx,
  resource: Pick<StripeResource, 'name' | 'unlisted'>,
  run: ListedRun,
) =>
  listableRows(trx, resource, run)
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

async function countRows(
  db: Db,
  resource: Pick<StripeResource, 'name' | 'unlisted'>,
  run: ListedRun,
): Promise<{ total: number; candidates: number }> {
  return searchRows(db, run, async (trx) => {
    const count = async (rows: Knex.QueryBuilder) =>
      (await rows.count<{ count: number }[]>().first())?.count ?? 0
    return {
      total: await count(listableRows(trx, resource, run)),
      candidates: await count(missingRows(trx, resource, run)),
    }
  })
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

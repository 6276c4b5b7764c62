import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-object.ts'
import { databaseNow, type FetchTime } from '../fetch-time.ts'
import { type StripeResource, tableOf } from '../stripe-resource.ts'
import { MassDeletionRefused } from '../sync-outcome.ts'
import { writeTombstones } from '../write-mirror-rows.ts'
import { retryWithBackoff } from './retry-with-backoff.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'
import type { ClaimedSyncRun } from './sync-run-store.ts'

const CONCURRENCY = 6

type FetchedObject = { id: string; asOf: FetchTime; object: StripeObject | null }

/**
 * After a complete listing: asks for each live row that it did not show, and marks as deleted what
 * Stripe does not have any more.
 *
 * @throws SyncRefused `mass_deletion_refused` when more than a fifth (and more than ten) would go and
 * the run is not forced; nothing is deleted then.
 */
export async function tombstoneMissing(progress: SyncRunProgress): Promise<void> {
  const { db, run, action } = progress
  const living = await countLiveRows(db, action.resource, run.conferenceId)
  const gone: FetchedObject[] = []
  for await (const ids of listMissingIds(db, action.resource, run)) {
    const answers = await inParallel(ids, CONCURRENCY, (id) => fetchMissing(progress, id))
    await storeLiving(progress, answers)
    gone.push(...answers.filter(({ object }) => object === null))
    if (run.options.force) await tombstone(progress, gone.splice(0))
    else if (!progress.isDry) assertNoMassDeletion(gone.length, living)
  }
  await tombstone(progress, gone)
  // A dry run tells them all before it says no.
  if (progress.isDry && !run.options.force) assertNoMassDeletion(gone.length, living)
}

function assertNoMassDeletion(gone: number, living: number): void {
  if (!isMassDeletion(gone, living)) return
  throw new MassDeletionRefused(
    'mass_deletion_refused',
    `At least ${gone} of ${living} objects are gone at Stripe. Nothing was deleted here: check the ` +
      'Stripe key, and run the sync again with force if this is right.',
  )
}

async function fetchMissing(progress: SyncRunProgress, id: string): Promise<FetchedObject> {
  const { resource } = progress.action
  const { stripe } = progress.connection
  progress.signal.throwIfAborted()
  const asOf = await databaseNow(progress.db)
  try {
    const object = await retryWithBackoff(() => resource.retrieve(stripe, id), progress.signal)
    if (object.deleted === true) return { id, asOf, object: null }
    const whole = await retryWithBackoff(
      async () => (await resource.complete?.(stripe, object)) ?? object,
      progress.signal,
    )
    return { id, asOf, object: whole }
  } catch (error) {
    if (isMissing(error)) return { id, asOf, object: null }
    throw error
  }
}

/** The listing had missed them; or they were detached, which no list shows. */
async function storeLiving(
  progress: SyncRunProgress,
  answers: readonly FetchedObject[],
): Promise<void> {
  const counts = { created: 0, updated: 0, unchanged: 0 }
  for (const { object, asOf } of answers) {
    if (object === null) continue
    if (progress.isDry) continue
    const { outcome } = await progress.action.sync(object, asOf)
    if (outcome === 'updated' || outcome === 'created') counts[outcome] += 1
    else counts.unchanged += 1
  }
  await progress.save({ ...progress.idle(), counts, requests: answers.length })
}

async function tombstone(progress: SyncRunProgress, gone: readonly FetchedObject[]): Promise<void> {
  const { db, run, action } = progress
  for (const { id } of gone) progress.note({ id, outcome: 'deleted', message: null })
  if (!progress.isDry) {
    for (const { id, asOf } of gone) {
      await writeTombstones(db, action.resource, run.conferenceId, [id], asOf)
    }
  }
  if (gone.length > 0) await progress.save({ ...progress.idle(), counts: { deleted: gone.length } })
}

/** Rows that are looked at in one go. */
const BATCH_SIZE = 100

/** Rows that are looked for in one go: each time, all listed ids are read. */
const SEARCH_LIMIT = 10_000

const FETCH_TIME_SQL = `timestamptz 'epoch' + ?::bigint * interval '1 microsecond'`

/**
 * Live rows that a complete listing did not show although they were here before it began. Nothing is
 * said of them yet: the listing may have missed one that moved, so each is asked for by its id.
 *
 * @returns the ids in order, a hundred at a time.
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
        .whereRaw(`mirror.as_of < ${FETCH_TIME_SQL}`, [run.listedFrom])
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
    for (let start = 0; start < ids.length; start += BATCH_SIZE)
      yield ids.slice(start, start + BATCH_SIZE)
    if (ids.length < SEARCH_LIMIT) return
    after = ids.at(-1) ?? ''
  }
}

/** How many rows of the resource live. */
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

/** Deleting at most this many needs no second thought. */
const MIN_MASS_DELETION = 10
const MASS_DELETION_SHARE = 0.2

/**
 * True when so many are gone that something else is likelier: another account's key, a list that
 * came back empty.
 */
function isMassDeletion(gone: number, living: number): boolean {
  return gone > MIN_MASS_DELETION && gone > living * MASS_DELETION_SHARE
}

import type Stripe from 'stripe'
import { withTenant } from '../../db/tenant-scope.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { rateLimitWaitOf } from '../../stripe/wait-for-rate-limit.ts'
import type { MirrorRow } from '../mirror-column.ts'
import { type Listing, type StripeResource, tableOf } from '../stripe-resource.ts'
import { clearForeignRows } from '../write-mirror-rows.ts'
import { listByParent } from './list-by-parent.ts'
import { type FetchedPage, type ListingReader, listByWindow } from './list-by-window.ts'
import { retryWithBackoff } from './retry-with-backoff.ts'
import type { SyncRunCounts, SyncRunDetail, Window } from './sync-run.ts'
import type { RunStep, SyncRunProgress } from './sync-run-progress.ts'

/** Objects that are completed in parallel, each with its own requests. */
const CONCURRENCY = 3

const PARENT_BATCH_SIZE = 200

/**
 * Reads the listing from the run's cursor and stores it page by page, in order. While Postgres stores a
 * page, this process prepares the next one and Stripe returns the one after it.
 */
export async function listAndStore(progress: SyncRunProgress): Promise<void> {
  let storing = Promise.resolve()
  try {
    let idleSince = performance.now()
    for await (const page of readPages(progress, () => idleSince)) {
      const prepared = await preparePage(progress, page)
      await storing
      idleSince = Number.POSITIVE_INFINITY
      storing = storePage(progress, prepared).finally(() => {
        idleSince = performance.now()
      })
      // Awaited in the next iteration; without a handler a failure would end the process until then.
      storing.catch(() => {})
    }
  } finally {
    await storing
  }
}

function readPages(
  progress: SyncRunProgress,
  idleSince: () => number,
): AsyncGenerator<FetchedPage<StripeObject>> {
  const { listing } = progress.action.resource
  const { cursor } = progress.run
  const reader = createListingReader(progress, listing, idleSince)
  if (listing.by === 'parent') {
    const start = cursor?.by === 'parents' ? cursor : { done: false, parent: null }
    if (start.done) return noPages()
    return listByParent(reader, (after) => parentIds(progress, listing.parent, after), start.parent)
  }
  const windows = cursor?.by === 'windows' ? cursor.windows : firstWindows(listing, reader.since)
  return listByWindow(reader, windows, listing.windows)
}

async function* noPages(): AsyncGenerator<never> {}

function firstWindows(
  listing: Extract<Listing<StripeObject>, { by: 'pages' }>,
  since: number | null,
): Window[] {
  const gte = listing.windows ? since : null
  return (listing.variants ?? [{}]).map((_, variant) => ({
    variant,
    gte,
    lt: null,
    after: null,
    oldest: null,
  }))
}

function createListingReader(
  progress: SyncRunProgress,
  listing: Listing<StripeObject>,
  idleSince: () => number,
): ListingReader<StripeObject> {
  const { stripe } = progress.connection
  const { since } = progress.run.options
  return {
    now: () => progress.clock.now(),
    idleSince,
    since: since === null ? null : Math.floor(since.getTime() / 1000),
    fetch: ({ variant = 0, parent = '', params }) =>
      retryWithBackoff(() => {
        if (listing.by === 'parent') return listing.page(stripe, parent, params)
        return listing.page(stripe, { ...params, ...listing.variants?.[variant] })
      }, progress.signal),
  }
}

function parentIds(
  { db, run }: SyncRunProgress,
  parent: string,
  after: string | null,
): Promise<string[]> {
  return withTenant(db, run, (trx) =>
    trx(tableOf({ name: parent }))
      .where({ conference_id: run.conferenceId })
      .whereNull('deleted_at')
      .where('id', '>', after ?? '')
      .orderBy('id')
      .limit(PARENT_BATCH_SIZE)
      .pluck<string[]>('id'),
  )
}

type PreparedPage = {
  step: Omit<RunStep, 'details'>
  details: readonly SyncRunDetail[]
}

async function preparePage(
  progress: SyncRunProgress,
  page: FetchedPage<StripeObject>,
): Promise<PreparedPage> {
  progress.signal.throwIfAborted()
  const { objects, requests } = await completeObjects(progress, page)
  const { deletable } = progress.action.resource
  const { rows, counts, details } = await toRows(progress, objects, page.asOf)
  const step = {
    rows,
    asOf: page.asOf,
    listed: deletable ? page.objects.map(({ id }) => id) : null,
    counts,
    requests: page.requests + requests,
    cursor: page.advance(),
  }
  return { step, details }
}

async function storePage(
  progress: SyncRunProgress,
  { step, details }: PreparedPage,
): Promise<void> {
  progress.signal.throwIfAborted()
  for (const detail of details) progress.note(detail)
  try {
    await progress.save(step)
  } catch (error) {
    if (progress.isLost || step.rows.length < 2 || !isDataError(error)) throw error
    await storeRowByRow(progress, step.rows, step.asOf)
    await progress.save({ ...step, rows: [] })
  }
}

/** SQLSTATE classes 22 and 23: Postgres rejects a value. The other rows of the page must be stored. */
function isDataError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^2[23]/.test(String(error.code))
}

async function storeRowByRow(
  progress: SyncRunProgress,
  rows: readonly MirrorRow[],
  asOf: number,
): Promise<void> {
  for (const row of rows) {
    try {
      await progress.save({ ...progress.emptyStep(), rows: [row], asOf })
    } catch (error) {
      if (progress.isLost || !isDataError(error)) throw error
      progress.note({ id: row.id, outcome: 'failed', message: messageOf(error) })
      await progress.save({ ...progress.emptyStep(), counts: { failed: 1 } })
    }
  }
}

async function completeObjects(
  { action, connection, signal, run }: SyncRunProgress,
  page: FetchedPage<StripeObject>,
): Promise<{ objects: StripeObject[]; requests: number }> {
  const { since } = run.options
  const wanted =
    since === null
      ? page.objects
      : page.objects.filter(({ created = 0 }) => created >= Math.floor(since.getTime() / 1000))
  const { resource } = action
  if (resource.complete === undefined) return { objects: wanted, requests: 0 }
  let requests = 0
  const objects = await inParallel(wanted, CONCURRENCY, async (object) => {
    const complete = await retryWithBackoff(
      () => completeObject(resource, connection.stripe, object),
      signal,
    )
    if (complete !== object) requests += 1
    return complete
  })
  return { objects, requests }
}

async function completeObject(
  resource: StripeResource,
  stripe: Stripe,
  object: StripeObject,
): Promise<StripeObject> {
  try {
    return (await resource.complete?.(stripe, object)) ?? object
  } catch (error) {
    // The object was deleted after it was listed: store the listed version.
    if (isMissing(error)) return object
    throw error
  }
}

type PageRows = {
  rows: MirrorRow[]
  counts: SyncRunCounts
  /** Objects that could not be converted, and rows that now belong to another conference. */
  details: SyncRunDetail[]
}

/** The rows of a page, after all hooks. A failure affects only its own object. */
async function toRows(
  progress: SyncRunProgress,
  objects: readonly StripeObject[],
  asOf: number,
): Promise<PageRows> {
  const { action, db, run, signal, isDry } = progress
  const details: SyncRunDetail[] = []
  const owned = await retryWithBackoff(() => action.findOwned(objects), signal)
  const foreign = objects.filter((_, index) => !owned[index]).map(({ id }) => id)
  const cleared = isDry
    ? []
    : await clearForeignRows(db, action.resource, run.conferenceId, foreign, asOf)
  for (const id of cleared) details.push({ id, outcome: 'deleted', message: OTHER_CONFERENCE })
  const counts: SyncRunCounts = {
    fetched: objects.length,
    created: 0,
    updated: 0,
    unchanged: 0,
    deleted: cleared.length,
    failed: 0,
  }
  const rows: MirrorRow[] = []
  const storesItself = action.isSyncOverridden() && !isDry
  for (const object of objects.filter((_, index) => owned[index])) {
    try {
      if (storesItself) countOutcome(counts, (await action.sync(object, asOf)).outcome)
      else rows.push(await action.toRow(object))
    } catch (error) {
      // A hook of a subclass asked Stripe. The run resumes with this page.
      if (rateLimitWaitOf(error) !== null) throw error
      counts.failed += 1
      details.push({ id: object.id, outcome: 'failed', message: messageOf(error) })
    }
  }
  return { rows, counts, details }
}

const OTHER_CONFERENCE = 'belongs to another conference with the same Stripe account'

function countOutcome(counts: SyncRunCounts, outcome: string): void {
  if (outcome === 'stale') counts.unchanged += 1
  else if (outcome !== 'foreign') counts[outcome as keyof SyncRunCounts] += 1 // the other outcomes
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

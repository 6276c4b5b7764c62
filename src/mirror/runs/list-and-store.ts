import type Stripe from 'stripe'
import { withTenant } from '../../db/tenant-scope.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { rateLimitWaitOf } from '../../stripe/wait-for-rate-limit.ts'
import type { RowText } from '../mirror-column.ts'
import { type Listing, type StripeResource, tableOf } from '../stripe-resource.ts'
import { clearForeignRows } from '../write-mirror-rows.ts'
import { listByParent } from './list-by-parent.ts'
import { type FetchedPage, type ListingReader, listByWindow } from './list-by-window.ts'
import { retryWithBackoff } from './retry-with-backoff.ts'
import { COUNT_NAMES, type SyncRunCounts, type SyncRunDetail, type Window } from './sync-run.ts'
import type { RunStep, SyncRunProgress } from './sync-run-progress.ts'
import { searchesMissing } from './tombstone-missing.ts'

/** Objects that are completed in parallel, each with its own requests. */
const CONCURRENCY = 3

const PARENT_BATCH_SIZE = 200

/** Rows that one statement stores, unless a single page has more. */
const MAX_STEP_ROWS = 500

/**
 * Reads the listing from the run's cursor and stores it in order. While Postgres stores pages, this
 * process prepares the next one and Stripe returns the one after it.
 */
export async function listAndStore(progress: SyncRunProgress): Promise<void> {
  const writer = new PageWriter(progress)
  try {
    for await (const page of readPages(progress, () => writer.idleSince)) {
      await writer.add(await preparePage(progress, page))
    }
  } finally {
    await writer.end()
  }
}

/**
 * Stores pages in order. Those that arrive while others are being stored share the next statement, so
 * a slow database costs fewer statements and round trips.
 */
class PageWriter {
  readonly #progress: SyncRunProgress
  /** Stays rejected after a failure. */
  #writing: Promise<void> | null = null
  #waiting: PreparedPage | null = null
  #hasFailed = false
  /** Since when no page is being stored (performance.now(), ms). Infinity while one is. */
  idleSince = performance.now()

  constructor(progress: SyncRunProgress) {
    this.#progress = progress
  }

  /**
   * Waits while enough other pages are waiting.
   *
   * @throws what storing an earlier page threw.
   */
  async add(page: PreparedPage): Promise<void> {
    while (this.#hasFailed || (this.#waiting !== null && !canJoin(this.#waiting, page))) {
      await this.#writing
    }
    if (this.#writing === null) this.#write(page)
    else this.#waiting = this.#waiting === null ? page : joinPages(this.#waiting, page)
  }

  /** Waits until all pages are stored. @throws what storing one threw. */
  async end(): Promise<void> {
    while (this.#writing !== null) await this.#writing
  }

  #write(page: PreparedPage): void {
    this.idleSince = Number.POSITIVE_INFINITY
    const writing = storePage(this.#progress, page).then(() => {
      this.#writing = null
      this.idleSince = performance.now()
      const next = this.#waiting
      this.#waiting = null
      if (next !== null) this.#write(next)
    })
    // Awaited by `add` or `end`; without a handler a failure would end the process until then.
    writing.catch(() => {
      this.#hasFailed = true
    })
    this.#writing = writing
  }
}

/** A statement can write a row only once, and a listing that was restarted contains objects again. */
function canJoin({ step: one }: PreparedPage, { step: other }: PreparedPage): boolean {
  if (one.rows.length + other.rows.length > MAX_STEP_ROWS) return false
  const ids = new Set(one.rows.map(({ id }) => id))
  return !other.rows.some(({ id }) => ids.has(id))
}

function joinPages(one: PreparedPage, other: PreparedPage): PreparedPage {
  const { listed } = other.step
  return {
    step: {
      rows: [...one.step.rows, ...other.step.rows],
      listed: listed === null ? null : [...(one.step.listed ?? []), ...listed],
      counts: addCounts(one.step.counts, other.step.counts),
      requests: one.step.requests + other.step.requests,
      cursor: other.step.cursor,
    },
    details: [...one.details, ...other.details],
  }
}

function addCounts(one: SyncRunCounts, other: SyncRunCounts): SyncRunCounts {
  const sums = { ...one }
  for (const name of COUNT_NAMES) sums[name] += other[name]
  return sums
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

/** What storing a page, or some of them together, writes. */
type PreparedPage = {
  step: Omit<RunStep, 'details'> & { counts: SyncRunCounts }
  details: readonly SyncRunDetail[]
}

async function preparePage(
  progress: SyncRunProgress,
  page: FetchedPage<StripeObject>,
): Promise<PreparedPage> {
  progress.signal.throwIfAborted()
  const { objects, requests } = await completeObjects(progress, page)
  const { rows, counts, details } = await toRows(progress, objects, page.asOf)
  const step = {
    rows,
    listed: searchesMissing(progress) ? page.objects.map(({ id }) => id) : null,
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
    await storeRowByRow(progress, step.rows)
    await progress.save({ ...step, rows: [] })
  }
}

/** SQLSTATE classes 22 and 23: Postgres rejects a value. The other rows must be stored. */
function isDataError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^2[23]/.test(String(error.code))
}

async function storeRowByRow(progress: SyncRunProgress, rows: readonly RowText[]): Promise<void> {
  for (const row of rows) {
    try {
      await progress.save({ ...progress.emptyStep(), rows: [row] })
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
  rows: RowText[]
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
  const rows: RowText[] = []
  const storesItself = action.isSyncOverridden() && !isDry
  for (const object of objects.filter((_, index) => owned[index])) {
    try {
      if (storesItself) countOutcome(counts, (await action.sync(object, asOf)).outcome)
      else rows.push(await action.toRow(object, asOf))
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

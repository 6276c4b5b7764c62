import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { databaseNow, type FetchTime } from '../fetch-time.ts'
import { MassDeletionRefused } from '../sync-outcome.ts'
import { writeTombstones } from '../write-mirror-rows.ts'
import { retryWithBackoff } from './retry-with-backoff.ts'
import { MAX_DETAILS, type RunCursor } from './sync-run.ts'
import type { SyncRunProgress } from './sync-run-progress.ts'

/** What one fetch returned. `object` is null if Stripe does not have the object. */
export type FetchedObject = { id: string; asOf: FetchTime; object: StripeObject | null }

/**
 * Fetches one complete object.
 *
 * @param retry repeats requests after temporary errors; default: for minutes, since a long run must not
 * end because of one error.
 */
export async function fetchObject(
  progress: SyncRunProgress,
  id: string,
  retry: typeof retryWithBackoff = retryWithBackoff,
): Promise<FetchedObject> {
  const { action, connection, signal } = progress
  signal.throwIfAborted()
  const asOf = await databaseNow(progress.db)
  const { resource } = action
  const { stripe } = connection
  try {
    const object = await retry(() => resource.retrieve(stripe, id), signal)
    if (object.deleted === true) return { id, asOf, object: null }
    const complete = async () => (await resource.complete?.(stripe, object)) ?? object
    return { id, asOf, object: await retry(complete, signal) }
  } catch (error) {
    if (isMissing(error)) return { id, asOf, object: null }
    throw error
  }
}

/** This number of tombstones is always allowed. */
const MIN_MASS_DELETION = 10
const MASS_DELETION_SHARE = 0.2

/** If none of so many objects exists, the run does not fetch the others. */
const SAMPLE_SIZE = 100

/**
 * Refuses a run that would turn too many rows into tombstones, because many missing objects suggest
 * another cause, such as the key of another account or an empty list.
 */
export class MassDeletionGuard {
  readonly #progress: SyncRunProgress
  /** The rows that the run covers. */
  readonly #total: number
  /** The objects that the run fetches by id. Any of them may be gone. */
  readonly #candidates: number

  constructor(progress: SyncRunProgress, sizes: { total: number; candidates: number }) {
    this.#progress = progress
    this.#total = sizes.total
    this.#candidates = sizes.candidates
  }

  /**
   * Call it after each batch of fetches. A dry run goes on, because it reports what it finds.
   *
   * @param gone rows whose objects Stripe does not have.
   * @param fetched all objects that were fetched by id.
   * @throws MassDeletionRefused
   */
  check(gone: number, fetched: number): void {
    const { isDry } = this.#progress
    const sample = isDry ? MAX_DETAILS : SAMPLE_SIZE
    const hasNothing = fetched >= sample && gone === fetched && this.#isTooMany(this.#candidates)
    if (hasNothing || !isDry) this.#refuse(gone, hasNothing ? this.#candidates : gone)
  }

  /** Call it after the last batch. @throws MassDeletionRefused */
  checkAll(gone: number): void {
    this.#refuse(gone, gone)
  }

  #refuse(gone: number, expected: number): void {
    if (this.#progress.run.options.force || !this.#isTooMany(expected)) return
    throw new MassDeletionRefused(
      `At least ${gone} of ${this.#total} objects no longer exist at Stripe. Nothing was marked as deleted. ` +
        'Check the Stripe key. If the objects were really deleted, repeat the sync with `force`.',
    )
  }

  #isTooMany(gone: number): boolean {
    return gone > MIN_MASS_DELETION && gone > this.#total * MASS_DELETION_SHARE
  }
}

/**
 * Turns the rows of objects that Stripe does not have into tombstones. A dry run only reports them.
 *
 * @param cursor of the run after this step.
 */
export async function tombstone(
  progress: SyncRunProgress,
  gone: readonly Omit<FetchedObject, 'object'>[],
  cursor: RunCursor | null,
): Promise<void> {
  if (gone.length === 0) return
  const { db, run, action } = progress
  for (const { id, asOf } of gone) {
    progress.note({ id, outcome: 'deleted', message: null })
    if (progress.isDry) continue
    await writeTombstones(db, action.resource, run.conferenceId, [id], asOf)
  }
  await progress.save({ ...progress.emptyStep(), counts: { deleted: gone.length }, cursor })
}

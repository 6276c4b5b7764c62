import { inParallel } from '../shared/in-parallel.ts'
import { isMissing } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import { databaseNow, type FetchTime } from './fetch-time.ts'
import type { Column, ColumnType, Defaults, RowText } from './mirror-column.ts'
import { findOwned } from './ownership.ts'
import { type SyncAllOptions, syncAll } from './runs/execute-sync-run.ts'
import type { SyncRun } from './runs/sync-run.ts'
import {
  foreignIdMessage,
  isForeignId,
  type StripeResource,
  type SyncAction,
  type SyncContext,
} from './stripe-resource.ts'
import { type Refreshed, type Synced, type SyncedId, toSyncError } from './sync-outcome.ts'
import {
  clearForeignRows,
  readColumns,
  toRowText,
  writeRows,
  writeTombstones,
} from './write-mirror-rows.ts'

/** Objects that `syncByIds` fetches in parallel. The rate limiter sets the pace. */
const CONCURRENCY = 6

/** Rows in one statement: as many as one page of a Stripe list. */
const BATCH_SIZE = 100

/**
 * Keeps the mirror rows of one resource equal to Stripe's objects. Each resource has its own subclass.
 * A subclass can change what is stored with three hooks, or override `sync`.
 *
 * Freshness: every fetch carries the time at which it was *requested*, by the database clock. The
 * latest request wins, in every order of arrival. The objects given to `sync` are never modified.
 */
export class StripeSyncAction<T extends StripeObject = StripeObject> implements SyncAction<T> {
  readonly context: SyncContext
  readonly resource: StripeResource<T>

  constructor(context: SyncContext, resource: StripeResource<T>) {
    this.context = context
    this.resource = withColumns(resource, this.addedColumns())
  }

  /**
   * Hook: further columns of the table, by name, that `setDefault` or `postSetDefault` fills. A migration
   * of your own adds them to the table. Called by the constructor, so it cannot read fields of a subclass.
   */
  protected addedColumns(): { readonly [name: string]: ColumnType } {
    return {}
  }

  /**
   * Hook: runs before the columns are read, with a copy of the Stripe object that it can change. The
   * `data` column always holds Stripe's own object.
   */
  protected preSetDefault(_object: T): void | Promise<void> {}

  /** Hook: reads the typed columns of the resource from the object. */
  protected setDefault(object: T): Defaults | Promise<Defaults> {
    return readColumns(this.resource, object)
  }

  /** Hook: runs before the row is written, with the columns, which it can change. */
  protected postSetDefault(_defaults: Defaults): void | Promise<void> {}

  /**
   * Stores one object. `{ deleted: true }` becomes a tombstone.
   *
   * @param fetchedAt when the object was requested from Stripe, also if it is the answer to a write: a
   * time after the answer would let a late answer replace a newer row.
   */
  async sync(object: T, fetchedAt: FetchTime): Promise<Synced> {
    const [synced] = await this.write([object], fetchedAt)
    if (synced === undefined) throw new Error(`${object.id} was not written`)
    return synced
  }

  /**
   * Stores many objects with far fewer statements than `sync` for each; mapping, hooks and results are
   * the same. If a subclass overrides `sync`, every object goes through that method.
   */
  async syncBatch(objects: readonly T[], fetchedAt: FetchTime): Promise<Synced[]> {
    if (!this.isSyncOverridden()) return this.write(objects, fetchedAt)
    const results: Synced[] = []
    for (const object of objects) results.push(await this.sync(object, fetchedAt))
    return results
  }

  /** Fetches and stores the objects with these ids. A failure of one does not stop the others. */
  async syncByIds(ids: readonly string[], signal?: AbortSignal): Promise<SyncedId[]> {
    return inParallel([...new Set(ids)], CONCURRENCY, async (id) => {
      try {
        signal?.throwIfAborted()
        return await this.syncById(id)
      } catch (error) {
        return { id, result: 'failed', error: toSyncError(error) }
      }
    })
  }

  /**
   * Fetches one object from Stripe and stores it. Writes a tombstone if Stripe does not have it.
   *
   * @param fetchedAt the fetch time to record. Default: now.
   * @returns `object`: the fetched object, or null if Stripe does not have it.
   * @throws what the SDK throws, except for a 404.
   */
  async refresh(id: string, fetchedAt?: FetchTime): Promise<Refreshed<T>> {
    const { resource, context } = this
    const { stripe } = await context.connect()
    const asOf = fetchedAt ?? (await databaseNow(context.db))
    let object: T
    try {
      object = await resource.retrieve(stripe, id)
    } catch (error) {
      if (!isMissing(error)) throw error
      const wasLive = await this.softDelete(id, asOf)
      return { object: null, outcome: wasLive ? 'deleted' : 'unchanged' }
    }
    const complete = (await resource.complete?.(stripe, object)) ?? object
    const { outcome } = await this.sync(complete, asOf)
    return { object: complete.deleted === true ? null : complete, outcome }
  }

  /**
   * Fetches all objects of the resource from Stripe, page by page, and makes the mirror equal to them.
   * This is a sync run, so its progress is visible. After a complete listing, the run fetches each live
   * row that was not listed, and turns those that Stripe does not have into tombstones.
   *
   * @throws AppError `sync_running` while another run of the resource is active.
   */
  syncAll(options?: SyncAllOptions): Promise<SyncRun> {
    return syncAll(this, options)
  }

  /**
   * Turns the row into a tombstone. Changes nothing at Stripe. Returns false if no live row exists.
   *
   * @param fetchedAt when the request was sent whose answer showed that Stripe does not have the object.
   */
  async softDelete(id: string, fetchedAt: FetchTime): Promise<boolean> {
    const { db, conferenceId } = this.context
    const deleted = await writeTombstones(db, this.resource, conferenceId, [id], fetchedAt)
    return deleted.length > 0
  }

  /** True if a subclass overrides `sync`: then every object must go through it. */
  isSyncOverridden(): boolean {
    return this.isOverridden('sync')
  }

  private isOverridden(method: 'sync' | 'preSetDefault' | 'setDefault'): boolean {
    return this[method] !== StripeSyncAction.prototype[method]
  }

  /** Which of the objects belong to this conference. Another one can use the same Stripe account. */
  findOwned(objects: readonly T[]): Promise<boolean[]> {
    return findOwned(this.context, this.resource, objects)
  }

  /** The row of an object, after all hooks. */
  async toRow(object: T, asOf: FetchTime): Promise<RowText> {
    // Copying costs more than the rest of the mapping, and only a hook can change the object.
    const hasHook = this.isOverridden('preSetDefault') || this.isOverridden('setDefault')
    const copy = hasHook ? copyOf(object) : object
    await this.preSetDefault(copy)
    const defaults = await this.setDefault(copy)
    await this.postSetDefault(defaults)
    return toRowText(this.resource, object, defaults, asOf)
  }

  private async syncById(id: string): Promise<SyncedId> {
    const { resource } = this
    if (isForeignId(resource, id)) {
      const message = foreignIdMessage(resource, id)
      return {
        id,
        result: 'failed',
        error: { code: 'foreign_id', message, stripe_request_id: null },
      }
    }
    const { object, outcome } = await this.refresh(id)
    return object === null ? { id, result: 'gone' } : { id, result: 'synced', outcome }
  }

  private async write(objects: readonly T[], fetchedAt: FetchTime): Promise<Synced[]> {
    const results: Synced[] = []
    for (const batch of toBatchesOfDistinctIds(objects)) {
      results.push(...(await this.writeBatch(batch, fetchedAt)))
    }
    return results
  }

  /** Stores objects with distinct ids. The results are in the same order. */
  private async writeBatch(objects: readonly T[], asOf: FetchTime): Promise<Synced[]> {
    const { db, conferenceId } = this.context
    const outcomes = new Map<string, Synced['outcome']>()
    const deletedIds = objects.filter(({ deleted }) => deleted === true).map(({ id }) => id)
    const tombstoned = await writeTombstones(db, this.resource, conferenceId, deletedIds, asOf)
    for (const id of deletedIds) {
      outcomes.set(id, tombstoned.includes(id) ? 'deleted' : 'unchanged')
    }
    const live = objects.filter((object) => object.deleted !== true)
    const owned = await this.findOwned(live)
    const foreign = live.filter((_, index) => !owned[index])
    await clearForeignRows(
      db,
      this.resource,
      conferenceId,
      foreign.map(({ id }) => id),
      asOf,
    )
    const ours = live.filter((_, index) => owned[index])
    if (ours.length > 0) {
      const rows = await Promise.all(ours.map((object) => this.toRow(object, asOf)))
      const written = await writeRows(db, this.resource, conferenceId, rows)
      for (const { id, outcome } of written) outcomes.set(id, outcome)
    }
    return objects.map(({ id }) => ({ id, outcome: outcomes.get(id) ?? 'foreign' }))
  }
}

function withColumns<T extends StripeObject>(
  resource: StripeResource<T>,
  added: { readonly [name: string]: ColumnType },
): StripeResource<T> {
  const columns = Object.entries(added).map(([name, type]): [string, Column<T>] => [
    name,
    { type, from: () => null, indexed: false },
  ])
  if (columns.length === 0) return resource
  return { ...resource, columns: { ...resource.columns, ...Object.fromEntries(columns) } }
}

/** Copies through JSON, because SDK objects also carry functions. */
function copyOf<T extends StripeObject>(object: T): T {
  return JSON.parse(JSON.stringify(object)) as T // the same members: Stripe's objects are JSON
}

/**
 * Splits a list into batches without duplicate ids, in order. Of two objects with the same id, the
 * second must find the row that the first one wrote.
 */
function toBatchesOfDistinctIds<T extends StripeObject>(objects: readonly T[]): T[][] {
  const batches: T[][] = []
  let ids = new Set<string>()
  for (const object of objects) {
    const batch = batches.at(-1)
    if (batch === undefined || batch.length === BATCH_SIZE || ids.has(object.id)) {
      batches.push([object])
      ids = new Set([object.id])
      continue
    }
    batch.push(object)
    ids.add(object.id)
  }
  return batches
}

import { inParallel } from '../shared/in-parallel.ts'
import { isMissing } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-object.ts'
import { databaseNow, type FetchTime } from './fetch-time.ts'
import { type SyncAllOptions, syncAll } from './runs/execute-sync-run.ts'
import type { SyncRun } from './runs/sync-run.ts'
import { isForeignId, type StripeResource, type SyncContext } from './stripe-resource.ts'
import { type Refreshed, type Synced, type SyncedId, toSyncError } from './sync-outcome.ts'
import {
  type Defaults,
  type MirrorRow,
  readColumns,
  toMirrorRow,
  writeRows,
  writeTombstones,
} from './write-mirror-rows.ts'

/** Objects read at the same time by `syncByIds`; the request budget sets the pace. */
const CONCURRENCY = 6

/** Rows in one statement: a page of Stripe's lists. */
const BATCH_SIZE = 100

/**
 * Keeps the rows of one kind of Stripe object equal to Stripe's objects. A subclass is one resource;
 * it may change what is stored through three hooks, and do more by overriding `sync`.
 *
 * Freshness: every reading carries the time at which it was *requested*, by our database's clock.
 * The greatest wins, in any order of arrival. Objects given to `sync` are never changed.
 */
export class StripeSyncAction<T extends StripeObject = StripeObject> {
  readonly context: SyncContext
  readonly resource: StripeResource<T>

  constructor(context: SyncContext, resource: StripeResource<T>) {
    this.context = context
    this.resource = resource
  }

  /**
   * Runs before the columns are read, with a copy of Stripe's object that may be changed. What is
   * kept as the whole object is Stripe's own, whatever happens here.
   */
  protected preSetDefault(_object: T): void | Promise<void> {}

  /** Reads the typed columns from the object: those that the resource declares. */
  protected setDefault(object: T): Defaults | Promise<Defaults> {
    return readColumns(this.resource, object)
  }

  /** Runs before the row is written, with the columns, which may be changed. */
  protected postSetDefault(_defaults: Defaults): void | Promise<void> {}

  /**
   * Stores one object; `{ deleted: true }` becomes a tombstone.
   *
   * @param readAt when the object was asked for; now, when it is not given.
   */
  async sync(object: T, readAt?: FetchTime): Promise<Synced> {
    const [synced] = await this.write([object], readAt)
    if (synced === undefined) throw new Error(`${object.id} was not written`)
    return synced
  }

  /**
   * Stores many objects, with the same mapping and hooks and the same result as `sync` one by one,
   * in far fewer statements. A subclass that overrides `sync` gets each object there.
   */
  async syncBatch(objects: readonly T[], readAt?: FetchTime): Promise<Synced[]> {
    if (!this.isSyncOverridden()) return this.write(objects, readAt)
    const results: Synced[] = []
    for (const object of objects) results.push(await this.sync(object, readAt))
    return results
  }

  /** Reads and stores the objects with these ids; one that fails does not stop the others. */
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
   * Reads one object from Stripe and stores it; one that is gone leaves a tombstone.
   *
   * @param readAt - when the reading counts as requested; now, when it is not given.
   * @returns `object`: what Stripe has, or null when it has none of this id any more.
   * @throws what the SDK throws, except for a 404.
   */
  async refresh(id: string, readAt?: FetchTime): Promise<Refreshed<T>> {
    const { resource, context } = this
    const { stripe } = await context.connect()
    const asOf = readAt ?? (await databaseNow(context.db))
    let object: T
    try {
      object = await resource.retrieve(stripe, id)
    } catch (error) {
      if (!isMissing(error)) throw error
      const wasAlive = await this.softDelete(id, asOf)
      return { object: null, outcome: wasAlive ? 'deleted' : 'unchanged' }
    }
    const whole = (await resource.complete?.(stripe, object)) ?? object
    const { outcome } = await this.sync(whole, asOf)
    return { object: whole.deleted === true ? null : whole, outcome }
  }

  /**
   * Reads all objects of the kind from Stripe and makes the mirror equal to them, page by page, as a
   * run that is visible while it goes on. What is gone at Stripe becomes a tombstone, after a
   * complete listing and a look at each.
   *
   * @throws AppError `sync_running` while another run of the resource has not ended.
   */
  syncAll(options?: SyncAllOptions): Promise<SyncRun> {
    return syncAll(this, options)
  }

  /** Marks the row as deleted, here and not at Stripe. Returns false when no live row had this id. */
  async softDelete(id: string, readAt?: FetchTime): Promise<boolean> {
    const { db, conferenceId } = this.context
    const asOf = readAt ?? (await databaseNow(db))
    const deleted = await writeTombstones(db, this.resource, conferenceId, [id], asOf)
    return deleted.length > 0
  }

  /** True when objects must go through `sync` one by one. */
  isSyncOverridden(): boolean {
    return this.sync !== StripeSyncAction.prototype.sync
  }

  /**
   * The row of a living object, after all hooks; null for one that names another conference, which
   * shares the Stripe account.
   */
  async toRow(object: T): Promise<MirrorRow | null> {
    const owner = object.metadata?.['conference_id']
    if (owner !== undefined && owner !== this.context.conferenceId) return null
    // Only a hook could change the object, and copying costs more than the rest of the mapping.
    const copied = this.setDefault !== StripeSyncAction.prototype.setDefault || this.hasPreHook()
    const copy = copied ? copyOf(object) : object
    await this.preSetDefault(copy)
    const defaults = await this.setDefault(copy)
    await this.postSetDefault(defaults)
    return toMirrorRow(this.resource, object, defaults)
  }

  private hasPreHook(): boolean {
    return this.preSetDefault !== StripeSyncAction.prototype.preSetDefault
  }

  private async syncById(id: string): Promise<SyncedId> {
    const { resource } = this
    if (isForeignId(resource, id)) {
      const message = `${id} is not the id of one of ${resource.name}: it begins with ${resource.idPrefixes.join(' or ')}.`
      return {
        id,
        result: 'failed',
        error: { code: 'foreign_id', message, stripe_request_id: null },
      }
    }
    const { object, outcome } = await this.refresh(id)
    return object === null ? { id, result: 'gone' } : { id, result: 'synced', outcome }
  }

  private async write(objects: readonly T[], readAt?: FetchTime): Promise<Synced[]> {
    const results: Synced[] = []
    for (const group of toBatchesOfDistinctIds(objects)) {
      const asOf = readAt ?? (await databaseNow(this.context.db))
      results.push(...(await this.writeGroup(group, asOf)))
    }
    return results
  }

  /** Stores objects of different ids; the results are in their order. */
  private async writeGroup(objects: readonly T[], asOf: FetchTime): Promise<Synced[]> {
    const { db, conferenceId } = this.context
    const outcomes = new Map<string, Synced['outcome']>()
    const gone = objects.filter(({ deleted }) => deleted === true).map(({ id }) => id)
    const deleted = await writeTombstones(db, this.resource, conferenceId, gone, asOf)
    for (const id of gone) outcomes.set(id, deleted.includes(id) ? 'deleted' : 'unchanged')
    const living = objects.filter((object) => object.deleted !== true)
    const rows = await Promise.all(living.map((object) => this.toRow(object)))
    const kept = rows.filter((row) => row !== null)
    if (kept.length > 0) {
      const written = await writeRows(db, this.resource, conferenceId, kept, asOf)
      for (const { id, outcome } of written) outcomes.set(id, outcome)
    }
    return objects.map(({ id }) => ({ id, outcome: outcomes.get(id) ?? 'foreign' }))
  }
}

/** By way of JSON: what the SDK returns carries functions beside the object's own members. */
function copyOf<T extends StripeObject>(object: T): T {
  return JSON.parse(JSON.stringify(object)) as T // the same members: Stripe's objects are JSON
}

/**
 * Cuts a list into groups in which no id comes twice, in order: the second of two with the same id
 * must find what the first one wrote, as it would one by one.
 */
function toBatchesOfDistinctIds<T extends StripeObject>(objects: readonly T[]): T[][] {
  const groups: T[][] = []
  let ids = new Set<string>()
  for (const object of objects) {
    const group = groups.at(-1)
    if (group === undefined || group.length === BATCH_SIZE || ids.has(object.id)) {
      groups.push([object])
      ids = new Set([object.id])
      continue
    }
    group.push(object)
    ids.add(object.id)
  }
  return groups
}

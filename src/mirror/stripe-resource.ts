import type Stripe from 'stripe'
import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients, StripeConnection } from '../stripe/stripe-client.ts'
import { idOf, type StripeObject } from '../stripe/stripe-objects.ts'
import type { FetchTime } from './fetch-time.ts'
import type { Column, RowText } from './mirror-column.ts'
import type { Refreshed, Synced, SyncedId } from './sync-outcome.ts'

/** One page of a Stripe list, newest object first. @see https://docs.stripe.com/api/pagination */
type ListPage<T> = { data: T[]; has_more: boolean }

type ListParams = {
  limit: number
  starting_after?: string
  /** Seconds since 1970, UTC. */
  created?: { gte?: number; lt?: number }
}

/**
 * How all objects of a resource are listed.
 *
 * - `pages`: in one list. `windows`: the list accepts a `created` filter, so a large account can be
 *   read in parallel. `variants`: parameters of several lists that are only complete together, such as
 *   active and inactive prices.
 * - `parent`: in one list for each object of the resource `parent`.
 */
export type Listing<T> =
  | {
      by: 'pages'
      windows: boolean
      variants?: readonly { readonly [param: string]: unknown }[]
      page(stripe: Stripe, params: ListParams): PromiseLike<ListPage<T>>
    }
  | {
      by: 'parent'
      parent: string
      page(stripe: Stripe, parentId: string, params: ListParams): PromiseLike<ListPage<T>>
    }

/** An object that another object refers to. */
export type Reference = { resource: string; id: string }

/**
 * Everything that the mirror needs to know about one kind of Stripe object. To add a resource, add one
 * file to `resources/`; `docs/mirror.md` shows how.
 */
export type StripeResource<T extends StripeObject = StripeObject> = {
  /** The name in paths and commands, such as `payment-intents`. The table is `payment_intents`. */
  name: string
  /** One sentence for the API document: what such an object is. */
  description?: string
  /** The values of Stripe's `object` field that are stored in this table. */
  objects: readonly string[]
  /** The prefixes of the ids, where Stripe fixes them. Empty when ids can be chosen freely. */
  idPrefixes: readonly string[]
  columns: { readonly [name: string]: Column<T> }
  listing: Listing<T>
  /** True when objects of this kind can be deleted or detached in Stripe. */
  deletable: boolean
  /**
   * An SQL condition for rows that exist in Stripe but appear in no list. A sync run does not fetch
   * these one by one after a complete listing. It names columns as `mirror.…`.
   */
  unlisted?: string
  /**
   * Views over the table, by name: `select` statements that read from `mirror`. Each selects
   * `conference_id` and filters tombstones as it needs.
   */
  views?: { readonly [name: string]: string }
  /**
   * Further CTEs of the statement that writes rows, for changes that must be in the same commit. They
   * read `given` (the columns of the rows) and `written` (the ids that were written).
   *
   * @param conferenceId SQL for it.
   */
  followUpCtes?(conferenceId: string): string
  /** Fetches one object. For a deleted one it throws the SDK's 404 or returns `{ deleted: true }`. */
  retrieve(stripe: Stripe, id: string): PromiseLike<T>
  /**
   * The objects that this one refers to. The mirror fetches those that it does not have yet. Build the
   * list with `referencesTo`, which drops ids of other kinds.
   */
  references?(object: T): Reference[]
  /**
   * The objects by which an object without a `conference_id` in its metadata belongs to a conference, as
   * pairs of a resource and a field; the closest first. Used when conferences share an account.
   */
  belongsTo?(object: T): readonly (readonly [resource: ParentResource, pointer: Pointer])[]
  /**
   * Objects that can refer to one of these, as pairs of a resource's name and its column. One that names
   * our conference shows that this object is ours.
   */
  usedBy?: readonly (readonly [resource: string, column: string])[]
  /**
   * Adds what Stripe truncates or leaves out of lists. Called for every fetched object, so it must
   * return a complete object unchanged and without a request. Must not modify its argument.
   */
  complete?(stripe: Stripe, object: T): Promise<T>
  createAction(context: SyncContext): SyncAction<T>
}

/** What is needed of a resource to find out to which conference its objects belong. */
export type ParentResource = Pick<
  StripeResource,
  'name' | 'idPrefixes' | 'retrieve' | 'belongsTo' | 'usedBy'
>

/** What sync runs and the mirror feed use of a `StripeSyncAction`. */
export type SyncAction<T extends StripeObject = StripeObject> = {
  readonly context: SyncContext
  readonly resource: StripeResource<T>
  sync(object: T, fetchedAt: FetchTime): Promise<Synced>
  syncBatch(objects: readonly T[], fetchedAt: FetchTime): Promise<Synced[]>
  syncByIds(ids: readonly string[], signal?: AbortSignal): Promise<SyncedId[]>
  refresh(id: string, fetchedAt?: FetchTime): Promise<Refreshed<T>>
  isSyncOverridden(): boolean
  toRow(object: T, asOf: FetchTime): Promise<RowText>
  findOwned(objects: readonly T[]): Promise<boolean[]>
}

/** What every sync action needs: the mirror of one conference and its Stripe account. */
export type SyncContext = {
  db: Db
  conferenceId: string
  /** The Stripe client. Called only when something must be fetched. */
  connect(): Promise<StripeConnection>
  logger: Logger
  /** Objects that name no conference are ours, because they were fetched for a purchase of ours. */
  ownsAll?: boolean
}

/** A context with the throttled client, which is created once, because that reads the key. */
export function createSyncContext(
  deps: { db: Db; clients: Pick<StripeClients, 'background'>; logger: Logger },
  conferenceId: string,
  signal?: AbortSignal,
): SyncContext {
  const { db, clients, logger } = deps
  let connection: Promise<StripeConnection> | undefined
  const connect = () => (connection ??= clients.background(conferenceId, signal))
  return { db, conferenceId, connect, logger }
}

/** `payment-intents` → `stripe.payment_intents`. */
export function tableOf({ name }: { name: string }): string {
  return `stripe.${name.replaceAll('-', '_')}`
}

/** True when the id cannot belong to this kind of object. */
export function isForeignId({ idPrefixes }: { idPrefixes: readonly string[] }, id: string) {
  return idPrefixes.length > 0 && !idPrefixes.some((prefix) => id.startsWith(prefix))
}

/** The error text for an id that cannot belong to this kind of object. */
export function foreignIdMessage({ name, idPrefixes }: StripeResource, id: string): string {
  return `${id} is not an id of ${name}: ids of ${name} begin with ${idPrefixes.join(' or ')}.`
}

type Target = Pick<StripeResource, 'name' | 'idPrefixes'>
type Pointer = string | { id?: string } | null | undefined

/**
 * Builds the result of `StripeResource.references` from pairs of a resource and the value or values of
 * a field. Drops nulls, duplicates and ids of another kind: a field can hold several kinds, such as a
 * guest (`gcus_`) instead of a customer.
 */
export function referencesTo(
  ...pointers: readonly (readonly [Target, Pointer | readonly Pointer[]])[]
): Reference[] {
  return pointers.flatMap(([target, pointed]) => {
    const ids = [pointed].flat().map(idOf)
    return [...new Set(ids)]
      .filter((id) => id !== null)
      .filter((id) => id !== '' && !isForeignId(target, id))
      .map((id) => ({ resource: target.name, id }))
  })
}

const PAGE_SIZE = 100

/**
 * Fetches every entry of a list that Stripe embeds in an object and truncates. Starts at the first
 * page, because the embedded part is not always the beginning of the list.
 *
 * @see https://docs.stripe.com/api/pagination
 */
export async function fetchWholeList<Entry extends { id: string }>(
  page: (params: Omit<ListParams, 'created'>) => PromiseLike<ListPage<Entry>>,
): Promise<Entry[]> {
  const entries: Entry[] = []
  for (;;) {
    const last = entries.at(-1)
    const after = last === undefined ? {} : { starting_after: last.id }
    const { data, has_more } = await page({ limit: PAGE_SIZE, ...after })
    entries.push(...data)
    if (!has_more || data.length === 0) return entries
  }
}

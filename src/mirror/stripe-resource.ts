import type Stripe from 'stripe'
import type { Db } from '../db/connect.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeConnection } from '../stripe/stripe-client.ts'
import { idOf, type StripeObject } from '../stripe/stripe-object.ts'
import type { Column } from './mirror-column.ts'
import type { StripeSyncAction } from './stripe-sync-action.ts'

/** A page of Stripe's lists: newest first. @see https://docs.stripe.com/api/pagination */
type ListPage<T> = { data: T[]; has_more: boolean }

type ListParams = {
  limit: number
  starting_after?: string
  /** Seconds since 1970, UTC. */
  created?: { gte?: number; lt?: number }
}

/**
 * How all objects of a kind are listed.
 *
 * - `pages`: by one list. `windows`: the list takes a `created` filter, so that a large account can
 *   be read in parallel. `variants`: parameters of lists that are complete only together, such as
 *   active and inactive prices.
 * - `per`: by a list for each object of another resource.
 */
export type Listing<T> =
  | {
      by: 'pages'
      windows: boolean
      variants?: readonly { readonly [param: string]: unknown }[]
      page(stripe: Stripe, params: ListParams): PromiseLike<ListPage<T>>
    }
  | {
      by: 'per'
      parent: string
      page(stripe: Stripe, parentId: string, params: ListParams): PromiseLike<ListPage<T>>
    }

/** An object that another one points to. */
export type Reference = { resource: string; id: string }

/** All that the mirror knows of one kind of object. A new kind is one file in `resources/`. */
export type StripeResource<T extends StripeObject = StripeObject> = {
  /** Its name in paths and commands, such as `payment-intents`. The table is `payment_intents`. */
  name: string
  /** For the API's document: what one of these is, in a sentence. */
  description?: string
  /** The values of `object` that are kept in this table. */
  objects: readonly string[]
  /** How ids of this kind begin, where Stripe fixes it; empty when they may be chosen freely. */
  idPrefixes: readonly string[]
  columns: { readonly [name: string]: Column<T> }
  listing: Listing<T>
  /** True when Stripe can delete or detach objects of this kind. */
  deletable: boolean
  /**
   * SQL, true for rows that no list shows although they live: they are not asked about one by one
   * after each complete listing. It names the table's columns as `mirror.…`.
   */
  unlisted?: string
  /**
   * Views over the table, by name: `select` statements that read from `mirror`. Each selects
   * `conference_id`, and of tombstones only what it means to show.
   */
  views?: { readonly [name: string]: string }
  /**
   * SQL of further parts of the statement that writes rows: CTEs that change what follows from them
   * elsewhere, in the same commit. They read `given` (the rows' columns) and `written` (the ids that
   * were written).
   *
   * @param conferenceId as a literal of SQL.
   */
  follow?(conferenceId: string): string
  /** Reads one object. May throw the SDK's 404 or return `{ deleted: true }` for one that is gone. */
  retrieve(stripe: Stripe, id: string): PromiseLike<T>
  /**
   * The objects that this one hangs on; those that are missing here are fetched along with it. Made
   * with `referencesTo`, which leaves out ids of other kinds.
   */
  references?(object: T): Reference[]
  /**
   * The object with all that Stripe cuts off or leaves out of lists. Asked for every object of a
   * page and for every single one that is read, so one that is whole comes back as it is, without a
   * request. Never changes the object that it is given.
   */
  complete?(stripe: Stripe, object: T): Promise<T>
  createAction(context: SyncContext): StripeSyncAction<T>
}

/** `payment-intents` → `stripe.payment_intents`. */
export function tableOf({ name }: { name: string }): string {
  return `stripe.${name.replaceAll('-', '_')}`
}

/** True when an id cannot be one of this kind. */
export function isForeignId({ idPrefixes }: { idPrefixes: readonly string[] }, id: string) {
  return idPrefixes.length > 0 && !idPrefixes.some((prefix) => id.startsWith(prefix))
}

/** What every sync action works with: one conference's part of the mirror, and its Stripe account. */
export type SyncContext = {
  db: Db
  conferenceId: string
  /** The client that stays inside the account's request budget. Asked for only to read. */
  connect(): Promise<StripeConnection>
  logger: Logger
}

type Target = Pick<StripeResource, 'name' | 'idPrefixes'>
type Pointer = string | { id?: string } | null | undefined

/**
 * The references of an object, for `StripeResource.references`: pairs of a resource and what the
 * object's field holds, one or many. Left out is what is null, what comes twice, and ids of another
 * kind: a field may hold several, such as a guest (`gcus_`) for a customer.
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

const PAGE = 100

/**
 * All entries of a list that Stripe embeds in an object and cuts off, from its first page on: the
 * embedded part is not always the beginning of the list.
 *
 * @see https://docs.stripe.com/api/pagination
 */
export async function readWholeList<Entry extends { id: string }>(
  page: (params: Omit<ListParams, 'created'>) => PromiseLike<ListPage<Entry>>,
): Promise<Entry[]> {
  const entries: Entry[] = []
  for (;;) {
    const last = entries.at(-1)
    const after = last === undefined ? {} : { starting_after: last.id }
    const { data, has_more } = await page({ limit: PAGE, ...after })
    entries.push(...data)
    if (!has_more || data.length === 0) return entries
  }
}

import type Stripe from 'stripe'
import type { Column } from './mirror-column.ts'
import type { StripeObject } from './stripe-object.ts'
import type { StripeSyncAction } from './stripe-sync-action.ts'
import type { SyncContext } from './sync-context.ts'

/** A page of Stripe's lists: newest first. @see https://docs.stripe.com/api/pagination */
export type ListPage<T> = { data: T[]; has_more: boolean }

export type ListParams = {
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

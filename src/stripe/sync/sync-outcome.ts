/**
 * What became of an object. `unchanged`: it was stored already as it is. `stale`: what is stored was
 * read later. `foreign`: it names another conference of the same Stripe account and is not kept.
 */
export type SyncOutcome = 'created' | 'updated' | 'unchanged' | 'deleted' | 'stale' | 'foreign'

export type Synced = { id: string; outcome: SyncOutcome }

/**
 * What became of an id. `gone`: Stripe has no such object (any more). `failed`: it could not be read
 * or stored; the others are not affected.
 */
export type SyncedId =
  | { id: string; result: 'synced'; outcome: SyncOutcome }
  | { id: string; result: 'gone' }
  | { id: string; result: 'failed'; error: SyncError }

export type SyncError = { code: string; message: string; stripe_request_id: string | null }

/** What a reading of one object found, and what became of its row. `object`: null when it is gone. */
export type Refreshed<T> = { object: T | null; outcome: SyncOutcome }

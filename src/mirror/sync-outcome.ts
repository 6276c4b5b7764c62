import { AppError } from '../shared/errors.ts'
import { toAppError } from '../stripe/stripe-errors.ts'

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

/** A rule of ours that ends a run, by the code under which the run shows it. */
export class MassDeletionRefused extends Error {
  override readonly name = 'SyncRefused'
  readonly code: 'mass_deletion_refused'

  constructor(code: MassDeletionRefused['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** An error as a result or a run shows it: Stripe's own words and request id where it spoke. */
export function toSyncError(thrown: unknown): SyncError {
  const error = toAppError(thrown)
  if (error instanceof MassDeletionRefused) {
    return { code: error.code, message: error.message, stripe_request_id: null }
  }
  if (!(error instanceof AppError)) {
    const message = error instanceof Error ? error.message : String(error)
    return { code: 'internal', message, stripe_request_id: null }
  }
  const requestId = error.extra?.['stripe_request_id']
  return {
    code: error.code,
    message: error.message,
    stripe_request_id: typeof requestId === 'string' ? requestId : null,
  }
}

import { AppError } from '../shared/errors.ts'
import { toAppError } from '../stripe/stripe-errors.ts'
import { keyProblemOf } from '../stripe/wait-for-key.ts'
import { rateLimitWaitOf } from '../stripe/wait-for-rate-limit.ts'

/**
 * What storing an object did. `unchanged`: the row already held the same object. `stale`: the row holds
 * a later fetch. `foreign`: the object belongs to another conference that uses the same Stripe account,
 * or may belong to it, so it is not stored.
 */
export type SyncOutcome = 'created' | 'updated' | 'unchanged' | 'deleted' | 'stale' | 'foreign'

export type Synced = { id: string; outcome: SyncOutcome }

/**
 * What syncing an id did. `gone`: Stripe does not have the object. `failed`: the object could not be
 * fetched or stored; this does not affect the others.
 */
export type SyncedId =
  | { id: string; result: 'synced'; outcome: SyncOutcome }
  | { id: string; result: 'gone' }
  | { id: string; result: 'failed'; error: SyncError }

/** The result of fetching and storing one object. `object` is null when Stripe does not have it. */
export type Refreshed<T> = { object: T | null; outcome: SyncOutcome }

/** An error as the API shows it. */
export type SyncError = { code: string; message: string; stripe_request_id: string | null }

/** Converts an error. Stripe's errors keep Stripe's message and request id. */
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

/**
 * Whether all requests of a run would fail as this one did, until the rate limit of its account allows more
 * of them or a valid key is set. Its job then waits and uses up no attempt.
 */
export function mustWait(error: unknown): boolean {
  return rateLimitWaitOf(error) !== null || keyProblemOf(error) === 'rejected'
}

/** Ends a sync run that would tombstone too many rows. */
export class MassDeletionRefused extends Error {
  override readonly name = 'MassDeletionRefused'
  readonly code = 'mass_deletion_refused'
}

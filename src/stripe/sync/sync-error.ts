import { AppError } from '../../shared/errors.ts'
import { toAppError } from '../stripe-errors.ts'
import type { SyncError } from './sync-outcome.ts'

/** A rule of ours that ends a run, by the code under which the run shows it. */
export class SyncRefused extends Error {
  override readonly name = 'SyncRefused'
  readonly code: 'mass_deletion_refused'

  constructor(code: SyncRefused['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** An error as a result or a run shows it: Stripe's own words and request id where it spoke. */
export function toSyncError(thrown: unknown): SyncError {
  const error = toAppError(thrown)
  if (error instanceof SyncRefused) {
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

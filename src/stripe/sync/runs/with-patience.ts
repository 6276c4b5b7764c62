import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../../shared/errors.ts'
import { toAppError } from '../../stripe-errors.ts'
import { unlessAborted } from './unless-aborted.ts'

const TRIES = 8
const LONGEST_WAIT = 60 // seconds

function isTemporary(error: unknown): error is AppError {
  return (
    error instanceof AppError &&
    (error.code === 'stripe_unavailable' || error.code === 'stripe_failed')
  )
}

/**
 * Repeats a request to Stripe that only failed for now: 1, 2, 4 … seconds apart, about two minutes
 * in all. A run of hours must not end because Stripe stumbles once.
 *
 * @throws the last error, or the first that is final, as the SDK threw it; the signal's reason as soon
 * as it aborts.
 */
export async function withPatience<T>(
  request: () => PromiseLike<T>,
  signal: AbortSignal,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted()
    try {
      return await unlessAborted(signal, request())
    } catch (thrown) {
      const error = toAppError(thrown)
      if (!isTemporary(error) || attempt === TRIES) throw thrown
      const wait = Math.max(
        Math.min(2 ** (attempt - 1), LONGEST_WAIT),
        error.retryAfterSeconds ?? 0,
      )
      await sleep(wait * 1000, undefined, { signal })
    }
  }
}

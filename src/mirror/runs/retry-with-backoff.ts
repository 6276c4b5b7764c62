import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../shared/errors.ts'
import { toAppError } from '../../stripe/stripe-errors.ts'
import { rateLimitWaitOf } from '../../stripe/wait-for-rate-limit.ts'

const MAX_ATTEMPTS = 8
const MAX_WAIT_SECONDS = 60

function isTemporary(error: unknown): error is AppError {
  return (
    error instanceof AppError &&
    (error.code === 'stripe_unavailable' || error.code === 'stripe_failed')
  )
}

/**
 * Repeats a request to Stripe after temporary errors, with waits of 1, 2, 4 … seconds: about two
 * minutes in all. A run of hours must not end because of one error. It does not wait for a long
 * `Retry-After`: the caller gives its worker back meanwhile.
 *
 * @throws the first permanent error or the last temporary one, as the SDK threw it; the signal's reason
 * immediately when it aborts.
 */
export async function retryWithBackoff<T>(
  request: () => PromiseLike<T>,
  signal: AbortSignal,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted()
    try {
      return await orAbort(signal, request())
    } catch (thrown) {
      const error = toAppError(thrown)
      if (!isTemporary(error) || attempt === MAX_ATTEMPTS) throw thrown
      if (rateLimitWaitOf(error) !== null) throw thrown
      const wait = Math.max(
        Math.min(2 ** (attempt - 1), MAX_WAIT_SECONDS),
        error.retryAfterSeconds ?? 0,
      )
      await sleep(wait * 1000, undefined, { signal })
    }
  }
}

/**
 * The result of `work`, unless the signal aborts first. The SDK itself cannot abort a request.
 *
 * @throws the signal's reason.
 */
async function orAbort<T>(signal: AbortSignal, work: PromiseLike<T>): Promise<T> {
  let stop = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
    // If it fails later, the error is of no interest.
    work.then(undefined, () => {})
  }
}

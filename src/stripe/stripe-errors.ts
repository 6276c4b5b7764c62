import Stripe from 'stripe'
import { AppError } from '../shared/errors.ts'

const { StripeError, StripeConnectionError, StripeIdempotencyError, StripeRateLimitError } =
  Stripe.errors

// Seconds after which a caller may retry when Stripe names no time.
const RETRY_AFTER_BUSY = 1
const RETRY_AFTER_FAILURE = 2
const RETRY_AFTER_NO_RESPONSE = 5

/** Calls the SDK and converts its errors with `toAppError`. */
export async function callStripe<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw toAppError(error)
  }
}

/** Like `callStripe`, for one object: null when this account and mode have no such object. */
export function fetchOrNull<T>(fetch: () => Promise<T>): Promise<T | null> {
  return callStripe(async () => {
    try {
      return await fetch()
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  })
}

/**
 * Converts an error of the SDK to an error of this service. Other errors are returned unchanged.
 *
 * - no response → `stripe_unavailable`
 * - 429, or 409 while a request with the same idempotency key is running → `stripe_unavailable` with
 *   Stripe's own `Retry-After`
 * - other 4xx → `stripe_refused` with Stripe's message and request id
 * - 5xx and responses that are not JSON → `stripe_failed`
 *
 * @see https://docs.stripe.com/api/errors
 */
export function toAppError(error: unknown): unknown {
  if (!(error instanceof StripeError)) return error
  const cause = causeOf(error)
  if (error instanceof StripeConnectionError) {
    return new AppError('stripe_unavailable', 'Stripe did not respond. Retry the request.', {
      retryAfterSeconds: RETRY_AFTER_NO_RESPONSE,
      cause,
    })
  }
  if (error instanceof StripeRateLimitError || error.statusCode === 409) {
    return new AppError(
      'stripe_unavailable',
      'Stripe limits the requests of this account at the moment. Retry later.',
      {
        retryAfterSeconds: retryAfterOf(error, RETRY_AFTER_BUSY),
        cause,
      },
    )
  }
  if (hasRefusalStatus(error)) {
    return new AppError('stripe_refused', refusalMessage(error), {
      extra: { stripe_request_id: error.requestId ?? null, stripe_code: error.code ?? null },
      cause,
    })
  }
  return new AppError(
    'stripe_failed',
    'Stripe responded with an internal error. Retry the request.',
    {
      retryAfterSeconds: retryAfterOf(error, RETRY_AFTER_FAILURE),
      extra: { stripe_request_id: error.requestId ?? null },
      cause,
    },
  )
}

function retryAfterOf(error: Stripe.errors.StripeError, fallback: number): number {
  const seconds = Number(error.headers?.['retry-after'])
  return Number.isInteger(seconds) && seconds > 0 ? seconds : fallback
}

// The SDK's error holds raw bodies and headers, which do not belong in a log.
function causeOf(error: Stripe.errors.StripeError): Error {
  const { type, requestId, statusCode } = error
  const where = [statusCode, requestId].filter((part) => part !== undefined).join(' ')
  return new Error(
    `${type}${where === '' ? '' : ` (${where})`}: ${maskStripeSecrets(error.message)}`,
  )
}

/** True when Stripe rejected the request and would reject it again: 4xx other than 409 and 429. */
export function isRefusal(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof StripeError && hasRefusalStatus(error)
}

function hasRefusalStatus(error: Stripe.errors.StripeError): boolean {
  const { statusCode } = error
  if (error instanceof StripeRateLimitError || statusCode === undefined) return false
  return statusCode >= 400 && statusCode < 500 && statusCode !== 409
}

/** Stripe's message about a refusal, safe to show to callers: keys in it are masked. */
export function refusalMessage(error: Stripe.errors.StripeError): string {
  return maskStripeSecrets(error.message) || 'Stripe did not give a reason.'
}

/**
 * True when Stripe replays an error that it stored under the idempotency key, or does not accept the
 * key for this request: retries with the same key can never succeed. A 500 that Stripe returns for
 * the first time is not a stored error. The SDK retries 5xx itself and throws the last response.
 *
 * @see https://docs.stripe.com/api/idempotent_requests
 */
export function isStoredError(error: unknown): error is Stripe.errors.StripeError {
  if (!(error instanceof StripeError)) return false
  if (error instanceof StripeIdempotencyError) return true
  const isServerError = error.statusCode !== undefined && error.statusCode >= 500
  return isServerError && error.headers?.['idempotent-replayed'] === 'true'
}

/** `storedError`: Stripe keeps an error under the idempotency key; another key may succeed. */
export type Refusal = { kind: 'refused'; message: string; storedError: boolean }

/** The refusal behind an error of a creating request. @throws AppError after an unknown outcome. */
export function toRefusal(error: unknown): Refusal {
  if (isStoredError(error)) {
    return { kind: 'refused', message: refusalMessage(error), storedError: true }
  }
  if (isRefusal(error)) {
    return { kind: 'refused', message: refusalMessage(error), storedError: false }
  }
  throw toAppError(error)
}

/** True for a 404 or `resource_missing`: this account and mode have no such object. */
export function isMissing(error: unknown): boolean {
  return (
    error instanceof StripeError && (error.statusCode === 404 || error.code === 'resource_missing')
  )
}

/** True when an object with the requested id already exists at Stripe. */
export function isTakenId(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof StripeError && error.code === 'resource_already_exists'
}

/** Masks Stripe keys and webhook secrets in a text for a caller, a row or a log. */
function maskStripeSecrets(text: string): string {
  return text.replaceAll(/\b([srp]k_(?:live|test)_|whsec_)[\w*.+/=-]+/g, '$1****')
}

const MAX_TEXT_LENGTH = 500

/** The reason of a failed attempt for `last_error` and the log: short, without keys, codes or SQL values. */
export function errorText(error: unknown): string {
  return maskStripeSecrets(textOf(error)).slice(0, MAX_TEXT_LENGTH)
}

function textOf(error: unknown): string {
  if (error instanceof AppError) return `${error.code}: ${error.message}`
  if (!(error instanceof Error)) return 'A value that is not an Error was thrown.'
  // The message of a database error holds the whole statement with its values, such as voucher codes.
  if ('severity' in error && 'code' in error) {
    // pg sets `constraint` on every error; it may be undefined.
    const named = 'constraint' in error && typeof error.constraint === 'string'
    const constraint = named ? ` (${String(error.constraint)})` : ''
    return `database error ${String(error.code)}${constraint}`
  }
  return `${error.name}: ${error.message}`
}

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
 * What an error of the SDK says about its request:
 * - `no_response`: nothing is known.
 * - `busy`: a 429, or a 409 while a request with the same idempotency key is running.
 * - `key_rejected`: 401 or 403. The conference's key was revoked or lacks a permission. A repeated
 *   request may get it after an earlier one did the work, so it never proves that nothing was made.
 * - `stored_error`: Stripe replays an error that it stored under the idempotency key, or does not accept
 *   the key for this request. Repeats under the same key can never succeed.
 * - `refused`: any other 4xx. Stripe would refuse the same request again.
 * - `failed`: a 5xx, or a response that is not JSON.
 *
 * @see https://docs.stripe.com/api/errors
 * @see https://docs.stripe.com/api/idempotent_requests
 */
export type StripeErrorKind =
  | 'no_response'
  | 'busy'
  | 'key_rejected'
  | 'stored_error'
  | 'refused'
  | 'failed'

/** The only classifier of Stripe's errors. Null: not an error of the SDK. */
export function classifyStripeError(error: unknown): StripeErrorKind | null {
  if (!(error instanceof StripeError)) return null
  if (error instanceof StripeConnectionError) return 'no_response'
  if (error instanceof StripeIdempotencyError) return 'stored_error'
  const { statusCode } = error
  if (error instanceof StripeRateLimitError || statusCode === 429 || statusCode === 409)
    return 'busy'
  if (statusCode === 401 || statusCode === 403) return 'key_rejected'
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return 'refused'
  // A 500 that Stripe returns for the first time is not a stored error.
  const isReplayed = error.headers?.['idempotent-replayed'] === 'true'
  return isReplayed && statusCode !== undefined ? 'stored_error' : 'failed'
}

/**
 * Converts an error of the SDK to an error of this service. Other errors are returned unchanged.
 *
 * - no response → `stripe_unavailable`
 * - 429, or 409 while a request with the same idempotency key is running → `stripe_unavailable` with
 *   Stripe's own `Retry-After`
 * - 401 and 403 → `stripe_key_rejected`
 * - other 4xx → `stripe_refused` with Stripe's message and request id
 * - 5xx and responses that are not JSON → `stripe_failed`
 */
export function toAppError(error: unknown): unknown {
  if (!(error instanceof StripeError)) return error
  const cause = causeOf(error)
  const extra = { stripe_request_id: error.requestId ?? null, stripe_code: error.code ?? null }
  switch (classifyStripeError(error)) {
    case 'no_response':
      return new AppError('stripe_unavailable', 'Stripe did not respond. Retry the request.', {
        retryAfterSeconds: RETRY_AFTER_NO_RESPONSE,
        cause,
      })
    case 'busy':
      return new AppError(
        'stripe_unavailable',
        'Stripe limits the requests of this account at the moment. Retry later.',
        { retryAfterSeconds: retryAfterOf(error, RETRY_AFTER_BUSY), cause },
      )
    case 'key_rejected':
      return new AppError(
        'stripe_key_rejected',
        `Stripe rejected the conference's API key. An operator must set a valid key with all permissions; then retry the request. Stripe's message: ${refusalMessage(error)}`,
        { extra, cause },
      )
    case 'refused':
      return new AppError('stripe_refused', refusalMessage(error), { extra, cause })
    default:
      return new AppError(
        'stripe_failed',
        'Stripe responded with an internal error. Retry the request.',
        {
          retryAfterSeconds: retryAfterOf(error, RETRY_AFTER_FAILURE),
          extra: { stripe_request_id: extra.stripe_request_id },
          cause,
        },
      )
  }
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

/** True when Stripe refused the request and would refuse it again: see `refused` of StripeErrorKind. */
export function isRefusal(error: unknown): error is Stripe.errors.StripeError {
  return classifyStripeError(error) === 'refused'
}

/** True for a 403: Stripe accepts the key, but it lacks the permission for this request. */
export function isForbidden(error: unknown): boolean {
  return error instanceof StripeError && error.statusCode === 403
}

/** Stripe's message about a refusal, safe to show to callers: keys in it are masked. */
function refusalMessage(error: Stripe.errors.StripeError): string {
  return maskStripeSecrets(error.message) || 'Stripe did not give a reason.'
}

/** See `stored_error` of StripeErrorKind. */
export function isStoredError(error: unknown): error is Stripe.errors.StripeError {
  return classifyStripeError(error) === 'stored_error'
}

/**
 * Stripe did not make the object. `storedError`: Stripe keeps an error under the idempotency key; another
 * key may succeed. `code` is Stripe's, such as `resource_missing`.
 */
export type Refusal = {
  kind: 'refused'
  message: string
  storedError: boolean
  code: string | null
}

/** The refusal behind an error of a request. @throws AppError after an unknown outcome. */
export function toRefusal(error: unknown): Refusal {
  const storedError = isStoredError(error)
  if (!storedError && !isRefusal(error)) throw toAppError(error)
  const { code = null } = error
  return { kind: 'refused', message: refusalMessage(error), storedError, code }
}

/** True for a 404 or `resource_missing`: this account and mode have no such object. */
export function isMissing(error: unknown): boolean {
  return (
    error instanceof StripeError && (error.statusCode === 404 || error.code === 'resource_missing')
  )
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

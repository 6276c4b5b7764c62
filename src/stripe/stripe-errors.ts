import Stripe from 'stripe'
import { AppError } from '../shared/errors.ts'

const { StripeError, StripeConnectionError, StripeRateLimitError } = Stripe.errors

// Seconds. Short where Stripe is only busy, longer where it does not answer at all.
const RETRY_AFTER_BUSY = 1
const RETRY_AFTER_FAILURE = 2
const RETRY_AFTER_NO_RESPONSE = 5

function retryAfterOf(error: Stripe.errors.StripeError, fallback: number): number {
  const seconds = Number(error.headers?.['retry-after'])
  return Number.isInteger(seconds) && seconds > 0 ? seconds : fallback
}

// The SDK's error carries raw bodies and headers, which no log needs.
function causeOf(error: Stripe.errors.StripeError): Error {
  const { type, requestId, statusCode } = error
  const where = [statusCode, requestId].filter((part) => part !== undefined).join(' ')
  return new Error(
    `${type}${where === '' ? '' : ` (${where})`}: ${maskStripeSecrets(error.message)}`,
  )
}

/** Stripe's own words about a refusal, fit to be shown: keys that it quotes are masked. */
export function refusalMessage(error: Stripe.errors.StripeError): string {
  return maskStripeSecrets(error.message) || 'Stripe gave no reason.'
}

function isRefusalStatus(error: Stripe.errors.StripeError): boolean {
  const { statusCode } = error
  if (error instanceof StripeRateLimitError || statusCode === undefined) return false
  return statusCode >= 400 && statusCode < 500 && statusCode !== 409
}

/** True when Stripe read the request and will say the same again: 4xx except busy and conflict. */
export function isRefusal(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof StripeError && isRefusalStatus(error)
}

/** True for a 404 or `resource_missing`: there is no such object in this account and mode. */
export function isMissing(error: unknown): boolean {
  return (
    error instanceof StripeError && (error.statusCode === 404 || error.code === 'resource_missing')
  )
}

/**
 * What the SDK threw, as an error of this service; anything else is returned as it is.
 *
 * - no answer → `stripe_unavailable`; busy (429, or 409 while a request under the same idempotency
 *   key runs) → `stripe_unavailable` with Stripe's own `Retry-After`
 * - other 4xx → `stripe_refused` with Stripe's message and request id
 * - 5xx and answers that are not JSON → `stripe_failed`
 *
 * @see https://docs.stripe.com/api/errors
 */
export function toAppError(error: unknown): unknown {
  if (!(error instanceof StripeError)) return error
  const cause = causeOf(error)
  if (error instanceof StripeConnectionError) {
    return new AppError('stripe_unavailable', 'Stripe did not answer. Nothing was changed here.', {
      retryAfterSeconds: RETRY_AFTER_NO_RESPONSE,
      cause,
    })
  }
  if (error instanceof StripeRateLimitError || error.statusCode === 409) {
    return new AppError('stripe_unavailable', 'Stripe is busy with this account.', {
      retryAfterSeconds: retryAfterOf(error, RETRY_AFTER_BUSY),
      cause,
    })
  }
  if (isRefusalStatus(error)) {
    return new AppError('stripe_refused', refusalMessage(error), {
      extra: { stripe_request_id: error.requestId ?? null, stripe_code: error.code ?? null },
      cause,
    })
  }
  return new AppError('stripe_failed', 'Stripe answered with an error of its own.', {
    retryAfterSeconds: retryAfterOf(error, RETRY_AFTER_FAILURE),
    extra: { stripe_request_id: error.requestId ?? null },
    cause,
  })
}

/** Runs calls of the SDK; what they throw comes out as `toAppError` makes it. */
export async function callStripe<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw toAppError(error)
  }
}

/** The same for one object: null when this account and mode have none of that id. */
export function fetchOrNull<T>(read: () => Promise<T>): Promise<T | null> {
  return callStripe(async () => {
    try {
      return await read()
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  })
}

/** Masks Stripe keys and webhook secrets in a text that goes to a caller, a row or a log. */
export function maskStripeSecrets(text: string): string {
  return text.replaceAll(/\b([srp]k_(?:live|test)_|whsec_)[\w*.+/=-]+/g, '$1****')
}

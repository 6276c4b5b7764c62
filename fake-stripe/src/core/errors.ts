import type Stripe from 'stripe'

export type StripeErrorType =
  | 'api_error'
  | 'card_error'
  | 'idempotency_error'
  | 'invalid_request_error'
  | 'rate_limit_error'

/** The fields of an error beside its message; the keys are those of Stripe's `error` object. */
export type StripeErrorDetails = {
  code?: string
  param?: string
  decline_code?: string
  advice_code?: string
  charge?: string
  payment_intent?: Stripe.PaymentIntent
  payment_method?: Stripe.PaymentMethod
  setup_intent?: Stripe.SetupIntent
}

/**
 * An error response of Stripe.
 *
 * When `stored` is set, execution of the request had started: the response is stored and replayed
 * under the idempotency key. An error about a parameter is not stored.
 *
 * @see https://docs.stripe.com/api/errors
 * @see https://docs.stripe.com/api/idempotent_requests
 */
export class StripeError extends Error {
  readonly status: number
  readonly type: StripeErrorType
  readonly details: StripeErrorDetails
  readonly stored: boolean
  readonly headers: Record<string, string>

  constructor(
    status: number,
    type: StripeErrorType,
    message: string,
    details: StripeErrorDetails = {},
    options: { stored?: boolean; headers?: Record<string, string> } = {},
  ) {
    super(message)
    this.name = 'StripeError'
    this.status = status
    this.type = type
    this.details = details
    this.stored = options.stored ?? false
    this.headers = options.headers ?? {}
  }
}

/** A parameter breaks a rule: 400, never stored under the idempotency key. */
export function invalidParameter(param: string, message: string, code?: string): StripeError {
  const details = code === undefined ? { param } : { param, code }
  return new StripeError(400, 'invalid_request_error', message, details)
}

/**
 * The state of an object does not allow the request: 400, found during execution and therefore
 * stored.
 */
export function refused(message: string, details: StripeErrorDetails = {}): StripeError {
  return new StripeError(400, 'invalid_request_error', message, details, { stored: true })
}

/** `No such charge: 'ch_1'`; 404 when the id is in the path, 400 when it is a parameter. */
export function noSuch(kind: string, id: string, param: string, status: 400 | 404 = 400) {
  const details = { code: 'resource_missing', param }
  return new StripeError(status, 'invalid_request_error', `No such ${kind}: '${id}'`, details)
}

/** `Coupon already exists.`: the id that the caller chose is in use. */
export function alreadyExists(kind: string): StripeError {
  const details = { code: 'resource_already_exists' }
  return new StripeError(400, 'invalid_request_error', `${kind} already exists.`, details)
}

/** An action of a payer, of the dashboard or of a test is not possible in the current state. */
export class InvalidState extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'InvalidState'
  }
}

/** The body of an error response. @see https://docs.stripe.com/api/errors */
export function errorBody(error: StripeError, baseUrl: string, requestId: string): object {
  const { code } = error.details
  return {
    error: {
      ...error.details,
      ...(code === undefined
        ? {}
        : { doc_url: `https://docs.stripe.com/error-codes/${code.replaceAll('_', '-')}` }),
      message: error.message,
      request_log_url: `${baseUrl}/?request=${requestId}`,
      type: error.type,
    },
  }
}

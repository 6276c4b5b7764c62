/**
 * Every error that leaves the process, with its HTTP status and title. A test compares the list
 * with openapi.yaml in both directions; `code` is stable and is what clients program against.
 */
export const ERROR_CATALOGUE = {
  malformed_json: { status: 400, title: 'The body is not valid JSON' },
  validation_failed: { status: 400, title: 'The request breaks a rule' },
  invalid_signature: { status: 400, title: 'The webhook signature is not valid' },
  unauthenticated: { status: 401, title: 'A valid API key is required' },
  forbidden: { status: 403, title: 'This key may not do that' },
  not_found: { status: 404, title: 'There is no such object' },
  already_exists: { status: 409, title: 'An object with this value exists already' },
  wrong_state: { status: 409, title: 'The state does not allow this' },
  payment_in_progress: { status: 409, title: 'A payment is under way' },
  stripe_key_missing: { status: 409, title: 'The conference has no Stripe key' },
  authentication_required: { status: 409, title: 'The bank wants the payer' },
  no_payment_method: { status: 409, title: 'There is no saved card to charge' },
  stripe_refused: { status: 409, title: 'Stripe refused the request' },
  sync_running: { status: 409, title: 'A sync of this resource is under way' },
  mode_fixed: { status: 409, title: 'Mode and Stripe account are fixed once purchases exist' },
  voucher_invalid: { status: 409, title: 'The voucher cannot be redeemed' },
  published: { status: 409, title: 'The voucher can be used at Stripe only' },
  voucher_refunded: { status: 409, title: 'The voucher was paid back' },
  idempotency_in_progress: { status: 409, title: 'A request with this key is still running' },
  idempotency_key_reused: { status: 422, title: 'The key was used with another request' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'The body must be application/json' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Something went wrong on our side' },
  stripe_failed: { status: 502, title: 'Stripe answered with an error' },
  stripe_unavailable: { status: 503, title: 'Stripe cannot be reached' },
  not_ready: { status: 503, title: 'The service is starting or stopping' },
  database_unavailable: { status: 503, title: 'The database cannot be reached' },
} as const satisfies Record<string, { status: number; title: string }>

export type ErrorCode = keyof typeof ERROR_CATALOGUE

/**
 * The `type` of a problem document: a name, not an address, since no host is ours for certain.
 * RFC 9457 §3.1.1 allows any URI.
 */
export function problemType(code: string): string {
  return `urn:sponsor-vouchers:problem:${code.replaceAll('_', '-')}`
}

/** One broken rule: `pointer` is a JSON pointer into the body, or `query/…`, `header/…`, `params/…`. */
export type FieldError = { pointer: string; detail: string }

export type AppErrorOptions = {
  errors?: FieldError[]
  /** Further members of the problem document, e.g. `{ status_now: 'PAID', allowed_actions: [] }`. */
  extra?: Record<string, unknown>
  retryAfterSeconds?: number
  cause?: unknown
}

/** An expected refusal. `detail` and `extra` are shown to the caller, so they carry no secret. */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly errors: FieldError[]
  readonly extra: Record<string, unknown>
  readonly retryAfterSeconds: number | undefined

  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    super(detail, { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.errors = options.errors ?? []
    this.extra = options.extra ?? {}
    this.retryAfterSeconds = options.retryAfterSeconds
  }

  get status(): number {
    return ERROR_CATALOGUE[this.code].status
  }
}

/** The 404 of every look-up: also what another tenant's object answers, so that ids cannot be probed. */
export function notFound(kind: string): AppError {
  return new AppError('not_found', `There is no such ${kind}.`)
}

/** A 400 for one field that broke a rule which no schema can express. */
export function invalidField(pointer: string, detail: string): AppError {
  return new AppError('validation_failed', detail, { errors: [{ pointer, detail }] })
}

/** The process must not run like this. The message is for whoever starts it; a stack tells nothing. */
export class StartupError extends Error {
  override readonly name = 'StartRefused'
}

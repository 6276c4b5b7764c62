/**
 * Every error that a caller can see, with its HTTP status, its title, and what the caller can do. A test
 * compares this list with openapi.yaml in both directions. Codes are stable: clients depend on them.
 */
export const ERROR_CATALOGUE = {
  malformed_http: {
    status: 400,
    title: 'The request is not valid HTTP',
    help: 'Send a complete HTTP request. Usually a proxy or a hand-written client is at fault.',
  },
  malformed_json: {
    status: 400,
    title: 'The request body is not valid JSON',
    help: 'Send a JSON object as the body, with `Content-Type: application/json`.',
  },
  validation_failed: {
    status: 400,
    title: 'The request is not valid',
    help: 'Correct the fields that `errors` lists: each has its place (`pointer`) and the rule that it breaks (`detail`).',
  },
  invalid_signature: {
    status: 400,
    title: 'The webhook signature is not valid',
    help: "For senders of webhooks. Compare the signing secret in Stripe's dashboard with the one stored here, and the clock of this server with the time.",
  },
  unauthenticated: {
    status: 401,
    title: 'A valid API key is required',
    help: 'Send a valid key in the header `Authorization: Bearer <key>`. A revoked or expired key must be replaced.',
  },
  forbidden: {
    status: 403,
    title: 'This API key does not allow the request',
    help: 'Use a key with the role or the scope that `detail` names.',
  },
  not_found: {
    status: 404,
    title: 'The object does not exist',
    help: 'Check the id and the conference in the path. An object of another conference or sponsor is not found either.',
  },
  method_not_allowed: {
    status: 405,
    title: 'The path does not support this method',
    help: 'Use a method that the header `Allow` lists.',
  },
  already_exists: {
    status: 409,
    title: 'An object with this value already exists',
    help: 'Choose another value, or use the object that has this one.',
  },
  wrong_state: {
    status: 409,
    title: 'The current state does not allow the request',
    help: 'Read the object again: its state changed, or never allowed this. `allowed_actions` of a purchase lists what is possible now.',
  },
  money_open: {
    status: 409,
    title: 'Money is not settled yet',
    help: 'Wait until the payments, refunds and disputes that `detail` names have ended, or cancel them.',
  },
  payment_in_progress: {
    status: 409,
    title: 'A payment is in progress',
    help: 'Wait until the payment has ended, or cancel it, then repeat the request.',
  },
  stripe_key_missing: {
    status: 409,
    title: 'The conference has no Stripe key',
    help: 'Staff must set the Stripe key of the conference.',
  },
  authentication_required: {
    status: 409,
    title: 'The bank requires the cardholder to authenticate',
    help: 'The payer must confirm the payment: open a payment page (checkout) and pay there.',
  },
  no_payment_method: {
    status: 409,
    title: 'There is no saved card to charge',
    help: 'Save a card for the sponsor first, or pay on a payment page.',
  },
  stripe_refused: {
    status: 409,
    title: 'Stripe refused the request',
    help: 'Stripe refused, and `detail` has its reason. Correct the request; a repeat of the same one is refused again.',
  },
  sync_running: {
    status: 409,
    title: 'A sync of this resource is already running',
    help: 'Wait until the running sync has ended, or cancel it.',
  },
  mode_fixed: {
    status: 409,
    title: 'Mode and Stripe account cannot change after the first purchase',
    help: 'Create another conference for the other mode or Stripe account.',
  },
  voucher_invalid: {
    status: 409,
    title: 'The voucher cannot be redeemed',
    help: 'Do not accept the voucher. `invalid_reason` says why, for example used up, not valid yet, or deactivated.',
  },
  already_assigned: {
    status: 409,
    title: 'The voucher is assigned to another person',
    help: 'Read the voucher: `assigned_to` shows the person. To replace that person, name their address in `replaces`.',
  },
  published: {
    status: 409,
    title: 'The voucher can only be redeemed at Stripe',
    help: "The voucher is a promotion code of Stripe: the buyer enters it on Stripe's payment page.",
  },
  hold_expired: {
    status: 409,
    title: 'The hold of the use has ended',
    help: 'The hold ended before it was confirmed, and its use is no longer free. Offer the buyer another voucher or the full price.',
  },
  voucher_refunded: {
    status: 409,
    title: 'Refunds require the voucher to stay inactive',
    help: 'The money for this voucher was paid back. Issue another voucher instead.',
  },
  voucher_redeemed: {
    status: 409,
    title: 'A voucher of the refund was redeemed',
    help: 'Leave out the vouchers that `errors` lists: a used ticket cannot be returned. Or refund an amount.',
  },
  idempotency_in_progress: {
    status: 409,
    title: 'A request with this Idempotency-Key is still running',
    help: 'Wait as long as `Retry-After` says, then repeat the request with the same key.',
  },
  idempotency_key_reused: {
    status: 422,
    title: 'The Idempotency-Key was used for a different request',
    help: 'Use a new `Idempotency-Key` for each new request.',
  },
  request_timeout: {
    status: 408,
    title: 'The request did not arrive completely in time',
    help: 'Send the request again. The whole request must arrive within a minute.',
  },
  payload_too_large: {
    status: 413,
    title: 'The request body is too large',
    help: 'Send less: several smaller requests instead of one.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The media type of the request body is not supported',
    help: 'Send JSON, with `Content-Type: application/json`. Only uploads of files take `text/csv`.',
  },
  rate_limited: {
    status: 429,
    title: 'Too many requests',
    help: 'Wait as long as `Retry-After` says. The limit counts per API key.',
  },
  request_header_too_large: {
    status: 431,
    title: 'The address or the headers are too large',
    help: 'Shorten the address or the headers: together they may have 16 kB.',
  },
  internal: {
    status: 500,
    title: 'An unexpected error occurred in this service',
    help: 'Repeat the request with the same `Idempotency-Key`. If it fails again, report `request_id` to the operator of the service.',
  },
  stripe_key_rejected: {
    status: 502,
    title: "Stripe rejected the conference's API key",
    help: 'Staff must set a valid Stripe key for the conference. What waits for it continues then.',
  },
  stripe_failed: {
    status: 502,
    title: 'Stripe returned an error',
    help: 'Wait as long as `Retry-After` says, then repeat the request with the same `Idempotency-Key`: nothing happens twice.',
  },
  stripe_unavailable: {
    status: 503,
    title: 'Stripe cannot be reached',
    help: 'Wait as long as `Retry-After` says, then repeat the request with the same `Idempotency-Key`: nothing happens twice.',
  },
  not_ready: {
    status: 503,
    title: 'The service is starting or stopping',
    help: 'Wait as long as `Retry-After` says, then repeat the request.',
  },
  database_unavailable: {
    status: 503,
    title: 'The database cannot answer now',
    help: 'Wait as long as `Retry-After` says, then repeat the request with the same `Idempotency-Key`.',
  },
} as const satisfies Record<string, { status: number; title: string; help: string }>

export type ErrorCode = keyof typeof ERROR_CATALOGUE

/**
 * The `type` of a problem document: the address of its entry on the page of errors. Without the address of
 * the service it is a URN; RFC 9457 §3.1.1 allows any URI.
 */
export function problemType(code: string, publicUrl: string | null = null): string {
  return publicUrl === null
    ? `urn:sponsor-vouchers:problem:${code.replaceAll('_', '-')}`
    : `${publicUrl.replace(/\/+$/, '')}${ERRORS_PATH}#${code}`
}

/** The page that explains every error. */
export const ERRORS_PATH = '/docs/errors'

/**
 * One broken rule. `pointer` is a JSON pointer into the body, or `query/…`, `header/…`, `params/…`, or
 * `line/3/email` in an uploaded file.
 * `detail` is a predicate that follows the field's name (`is required`), or a whole sentence.
 */
export type FieldError = { pointer: string; detail: string }

export type AppErrorOptions = {
  errors?: FieldError[]
  /** More members of the problem document, e.g. `{ status_now: 'PAID', allowed_actions: [] }`. */
  extra?: Record<string, unknown>
  retryAfterSeconds?: number
  cause?: unknown
}

/** An expected refusal. The caller sees `detail` and `extra`, so they must not contain a secret. */
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

/**
 * True for an error that refuses the request, so that nothing was made. A missing Stripe key refuses too,
 * but it says nothing about requests that were sent earlier.
 */
export function isFinalRefusal(error: unknown): error is AppError {
  return error instanceof AppError && error.status < 500 && error.code !== 'stripe_key_missing'
}

const AFTER_WRITE_RETRY_SECONDS = 2

/**
 * Runs a step that comes after a write at Stripe, such as a fetch of the written object. Stripe's refusal
 * of this step says nothing about the write. So it must not reach the caller as a refusal, and it must
 * not release the `Idempotency-Key`: a repeat would write again.
 *
 * @throws AppError `stripe_failed` in place of an AppError below 500; other errors unchanged.
 */
export async function afterWrite<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (!(error instanceof AppError) || error.status >= 500) throw error
    throw new AppError(
      'stripe_failed',
      `The request was sent to Stripe, but its result could not be fetched: ${error.message} Repeat the request with the same Idempotency-Key: it continues and makes nothing twice.`,
      { retryAfterSeconds: AFTER_WRITE_RETRY_SECONDS, extra: error.extra, cause: error },
    )
  }
}

/** The 404 of every look-up. Another tenant's object answers the same, so ids cannot be probed. */
export function notFound(kind: string): AppError {
  return new AppError('not_found', `There is no such ${kind}.`)
}

/** A 400 for one field that breaks a rule which a schema cannot express. */
export function invalidField(pointer: string, detail: string): AppError {
  return invalidFields([{ pointer, detail }])
}

/** A 400 that names every broken rule in one sentence each. */
export function invalidFields(errors: FieldError[]): AppError {
  return new AppError('validation_failed', errors.map(fieldSentence).join('; '), { errors })
}

/** `{ pointer: '/items/0/plan', detail: 'is required' }` → `items[0].plan is required`. */
function fieldSentence({ pointer, detail }: FieldError): string {
  return /^[a-z]/.test(detail) ? `${fieldName(pointer)} ${detail}` : detail
}

function fieldName(pointer: string): string {
  const [part = '', ...names] = pointer.split('/')
  if (names.length === 0 || pointer === '/') return 'The request body'
  const path = names
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((whole, name) => (/^\d+$/.test(name) ? `${whole}[${name}]` : `${whole}.${name}`))
  return part === 'header' ? `The header ${path}` : path
}

/** This process must not start or run with these settings. The message is complete without a stack. */
export class StartupError extends Error {
  override readonly name = 'StartupError'
}

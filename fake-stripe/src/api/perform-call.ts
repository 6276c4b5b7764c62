import { type Account, type AccountRegistry, maskKey } from '../core/accounts.ts'
import { API_VERSION } from '../core/changes.ts'
import { errorBody, StripeError } from '../core/errors.ts'
import { fakeId } from '../core/ids.ts'
import type { FakeState } from '../fake-state.ts'
import { RESOURCES_BY_KIND } from '../kinds/all-kinds.ts'
import type { ApiFaultAction } from './api-faults.ts'
import { applyExpand, checkExpand } from './expand.ts'
import type { IdempotencyTicket, StoredAnswer } from './idempotency-store.ts'
import type { Call, Operation, PathParams } from './operations.ts'
import { type Form, type FormValue, group, list, paramError, text } from './params.ts'
import type { LoggedRequest } from './request-log.ts'

/** A request to one endpoint, without the details of HTTP. */
export type ApiRequest = {
  operation: Operation
  /** The path as it was sent, without the query. */
  path: string
  pathParams: PathParams
  form: Form
  authorization: string | undefined
  idempotencyKey: string | undefined
  stripeVersion: string | undefined
  stripeAccount: string | undefined
}

/** The response to the client; an injected fault can let the request hang or cut the connection. */
export type Outcome =
  | { kind: 'answer'; status: number; headers: Record<string, string>; body: string }
  | { kind: 'hang' }
  | { kind: 'cut' }

type Result = { answer: StoredAnswer; stored: boolean; headers: Record<string, string> }

/**
 * Performs one API request in Stripe's order: key, rate limit, idempotency key, parameters,
 * execution. Execution is synchronous, so requests never interleave.
 */
export async function performCall(state: FakeState, request: ApiRequest): Promise<Outcome> {
  const entry = state.requests.add(logEntry(state, request))
  try {
    const account = openAccount(state, request)
    entry.account = account.id
    const fault = state.faults.take(request.operation.method, request.path, account.id)
    entry.fault = fault?.kind ?? null
    const spoilt = applyFault(fault)
    if (spoilt !== null) return spoilt
    const result = await answerIdempotently(state, request, account, entry, fault)
    if (fault?.kind === 'fail_after' && fault.how === 'cut') return { kind: 'cut' }
    if (fault?.kind === 'hang') return { kind: 'hang' }
    if (fault?.kind === 'refuse') throw refusal(fault.status)
    return outcome(request, entry, result)
  } catch (error) {
    return outcome(request, entry, failure(state, entry.id, error))
  }
}

function openAccount(state: FakeState, request: ApiRequest): Account {
  const version = request.stripeVersion
  const { authorization, stripeAccount } = request
  const account = authenticate(state.accounts, authorization, stripeAccount)
  if (version !== undefined && !/^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$/.test(version))
    throw new StripeError(
      400,
      'invalid_request_error',
      `Invalid Stripe API version: ${version}. API versions are of the form \`YYYY-MM-DD.name\`.`,
    )
  return account
}

/** @throws StripeError for a response that is not stored under the idempotency key. */
function applyFault(fault: ApiFaultAction | null): Outcome | null {
  if (fault === null) return null
  if (fault.kind === 'cut') return { kind: 'cut' }
  if (fault.kind === 'hang' && !fault.executed) return { kind: 'hang' }
  if (fault.kind === 'rate_limit') throw rateLimit(fault)
  if (fault.kind === 'refuse' && !fault.executed) throw refusal(fault.status)
  if (fault.kind === 'error' && !isStored(fault)) throw apiError(fault.status, false)
  return null
}

/** Returns the response that is stored under the idempotency key, or executes the request. */
async function answerIdempotently(
  state: FakeState,
  request: ApiRequest,
  account: Account,
  entry: LoggedRequest,
  fault: ApiFaultAction | null,
): Promise<Result> {
  const ticket = claim(state, request, account)
  if (fault?.kind === 'slow') await state.delays.wait(fault.ms)
  if (ticket?.kind === 'replay') {
    entry.replayed = true
    return { answer: ticket.answer, stored: true, headers: {} }
  }
  const result = execute(state, request, account, entry, fault)
  if (ticket === null) return result
  if (result.stored) ticket.store(result.answer)
  else ticket.release()
  return result
}

function claim(state: FakeState, request: ApiRequest, account: Account): IdempotencyTicket | null {
  const { idempotencyKey: key, operation, path, form } = request
  if (key === undefined || operation.method !== 'POST') return null
  return state.idempotency.begin(account.id, key, path, canonical(form))
}

function execute(
  state: FakeState,
  request: ApiRequest,
  account: Account,
  entry: LoggedRequest,
  fault: ApiFaultAction | null,
): Result {
  try {
    const { expand, ...form } = request.form
    const paths = readExpand(expand)
    checkExpand(RESOURCES_BY_KIND, request.operation, paths)
    const run = request.operation.prepare(form, request.pathParams)
    if (fault?.kind === 'error') throw apiError(fault.status, true)
    const decline = fault?.kind === 'decline' ? fault.code : null
    const cause = { requestId: entry.id, idempotencyKey: request.idempotencyKey ?? null }
    const call: Call = { world: state, account, cause, decline, expand: paths }
    const object = applyExpand(RESOURCES_BY_KIND, call, request.operation, run(call), paths)
    if (fault?.kind === 'fail_after' && fault.how === 'status_500') throw apiError(500, true)
    // Indented like Stripe's responses, so that people can read it. Lists are not: indenting them
    // would make the request a third slower.
    const body = JSON.stringify(object, null, request.operation.list ? 0 : 2)
    return { answer: { status: 200, body, requestId: entry.id }, stored: true, headers: {} }
  } catch (error) {
    return failure(state, entry.id, error)
  }
}

const expandSchema = group({ expand: list(text()) })

function readExpand(expand: FormValue | undefined): string[] {
  if (expand === undefined) return []
  const result = expandSchema.safeParse({ expand })
  if (!result.success) throw paramError(result.error.issues)
  return result.data.expand
}

function failure(state: FakeState, requestId: string, error: unknown): Result {
  if (!(error instanceof StripeError))
    state.logger.error({ err: error }, 'fake-stripe failed to execute a request')
  const known = error instanceof StripeError ? error : apiError(500, false)
  const body = JSON.stringify(errorBody(known, state.url(), requestId), null, 2)
  const answer = { status: known.status, body, requestId }
  return { answer, stored: known.stored, headers: known.headers }
}

function outcome(request: ApiRequest, entry: LoggedRequest, result: Result): Outcome {
  const { answer, stored } = result
  entry.status = answer.status
  const headers: Record<string, string> = {
    'Content-Type': 'application/json',
    'Request-Id': entry.id,
    'Stripe-Version': request.stripeVersion ?? API_VERSION,
    ...result.headers,
  }
  if (request.idempotencyKey !== undefined) headers['Idempotency-Key'] = request.idempotencyKey
  if (entry.replayed) {
    headers['Idempotent-Replayed'] = 'true'
    headers['Original-Request'] = answer.requestId
  }
  // A retry would only replay the stored 500, so Stripe tells its SDKs not to retry.
  if (answer.status >= 500 && stored) headers['Stripe-Should-Retry'] = 'false'
  return { kind: 'answer', status: answer.status, headers, body: answer.body }
}

function rateLimit(fault: Extract<ApiFaultAction, { kind: 'rate_limit' }>): StripeError {
  const { reason, retry_after_seconds: seconds } = fault
  if (reason === 'lock_timeout')
    return new StripeError(
      429,
      'invalid_request_error',
      'This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you see this error intermittently, retry the request.',
      { code: 'lock_timeout' },
      { headers: { 'Stripe-Should-Retry': 'true' } },
    )
  return new StripeError(
    429,
    'rate_limit_error',
    'Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits.',
    { code: 'rate_limit' },
    {
      headers: {
        'Retry-After': String(seconds),
        'Stripe-Rate-Limited-Reason': reason,
        'Stripe-Should-Retry': 'false',
      },
    },
  )
}

function isStored({ status, stored }: Extract<ApiFaultAction, { kind: 'error' }>): boolean {
  return stored ?? status === 500
}

function apiError(status: number, stored: boolean): StripeError {
  const message =
    status === 503
      ? 'Stripe is temporarily unavailable. Please try again later.'
      : 'An unknown error occurred.'
  return new StripeError(status, 'api_error', message, {}, { stored })
}

function refusal(status: number): StripeError {
  const message =
    status === 401 || status === 403
      ? 'The provided key does not have the required permissions for this endpoint.'
      : 'The request is not possible at the moment.'
  return new StripeError(status, 'invalid_request_error', message)
}

function logEntry(state: FakeState, request: ApiRequest): LoggedRequest {
  return {
    id: fakeId('req_', 14),
    at: new Date(state.clock.now()).toISOString(),
    account: null,
    method: request.operation.method,
    path: request.path,
    params: request.form,
    idempotencyKey: request.idempotencyKey ?? null,
    apiVersion: request.stripeVersion ?? null,
    status: null,
    replayed: false,
    fault: null,
  }
}

/** The same text for the same parameters in any order. */
function canonical(value: FormValue): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join()}}`
}

/**
 * The account of the request's key: `Authorization: Bearer sk_test_…`, or Basic with the key as the
 * user name, as `curl -u sk_test_…:` sends it.
 *
 * @param own the `Stripe-Account` header; only the key's own account is allowed, because the fake
 *   has no Connect platforms.
 * @throws StripeError 401 without a usable key, 403 for another account.
 * @see https://docs.stripe.com/api/authentication
 */
function authenticate(
  accounts: AccountRegistry,
  authorization: string | undefined,
  own: string | undefined,
): Account {
  const key = secretKey(authorization)
  if (key === undefined || key === '')
    throw unauthorized(
      "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://docs.stripe.com/api#authentication for details.",
    )
  if (/^pk_(test|live)_/.test(key))
    throw unauthorized(
      'This API call cannot be made with a publishable API key. Please use a secret API key. You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.',
      'secret_key_required',
    )
  const account = accounts.open(key)
  if (account === 'revoked')
    throw unauthorized(`Expired API Key provided: ${maskKey(key)}`, 'api_key_expired')
  if (account === 'malformed' || account === 'unknown')
    throw unauthorized(`Invalid API Key provided: ${maskKey(key)}`)
  if (own !== undefined && own !== account.id) throw noAccess(key, own)
  return account
}

function noAccess(key: string, account: string): StripeError {
  return new StripeError(
    403,
    'invalid_request_error',
    `The provided key '${maskKey(key)}' does not have access to account '${account}' (or that account does not exist). Application access may have been revoked.`,
    { code: 'account_invalid' },
  )
}

function secretKey(authorization: string | undefined): string | undefined {
  const [scheme = '', value = ''] = authorization?.split(/\s+/, 2) ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() !== 'basic') return undefined
  return Buffer.from(value, 'base64').toString('utf8').split(':', 1)[0]
}

function unauthorized(message: string, code?: string): StripeError {
  const details = code === undefined ? {} : { code }
  return new StripeError(401, 'invalid_request_error', message, details, {
    headers: { 'WWW-Authenticate': 'Bearer realm="Stripe"' },
  })
}

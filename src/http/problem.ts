import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type {
  FastifyBaseLogger,
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
} from 'fastify'
import {
  hasZodFastifySchemaValidationErrors,
  isResponseSerializationError,
} from 'fastify-type-provider-zod'
import { isDatabaseUnavailable, isDeadlock } from '../db/pg-errors.ts'
import {
  AppError,
  ERROR_CATALOGUE,
  type ErrorCode,
  type FieldError,
  invalidFields,
  problemType,
} from '../shared/errors.ts'
import { fieldErrorsOf } from './validation-errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The methods of all routes that match an address; none for an unknown path. */
    methodsAt(url: string): string[]
    /** The address of the service, which the `type` of a problem leads to; null: unknown. */
    publicUrl: string | null
  }
}

export const PROBLEM_CONTENT_TYPE = 'application/problem+json'

/** The body of every error: RFC 9457 plus a stable `code`, the broken rules and the request id. */
type Problem = {
  type: string
  title: string
  status: number
  code: ErrorCode
  detail: string
  request_id: string
  errors?: FieldError[]
}

// What fastify refuses before a handler runs.
const FASTIFY_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'malformed_json',
}

/** Sends an error as a problem document, with `Retry-After` where a retry can succeed. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: unknown): void {
  const known = toAppError(error, request)
  if (error instanceof Error && isResponseSerializationError(error)) {
    request.log.error({ issues: error.cause?.issues }, 'the response does not match its schema')
  }
  log(request, known)
  const { title } = ERROR_CATALOGUE[known.code]
  const problem: Problem & Record<string, unknown> = {
    type: problemType(known.code, request.server.publicUrl),
    title,
    status: known.status,
    code: known.code,
    detail: known.message,
    request_id: request.id,
    ...(known.errors.length > 0 ? { errors: known.errors } : {}),
    ...known.extra,
  }
  if (known.retryAfterSeconds !== undefined) {
    void reply.header('retry-after', known.retryAfterSeconds)
  }
  // The hook that sets it does not run when fastify refuses a request first.
  void reply.header('request-id', request.id)
  if (known.code === 'method_not_allowed') {
    void reply.header('allow', request.server.methodsAt(request.url).join(', '))
  }
  if (known.code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer')
  void reply.code(known.status).type(PROBLEM_CONTENT_TYPE).serializer(JSON.stringify).send(problem)
}

/** The reasons for which Node gives up a request. All others: it is not valid HTTP. */
const UNREADABLE: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'request_header_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}

type UnreadableRequestDeps = {
  requestId: string
  publicUrl: string | null
  logger: Pick<FastifyBaseLogger, 'info'>
}

/**
 * Answers a request that Node could not read, so it has no route: 431 for an address or headers above
 * 16 kB, 408 for one that stays incomplete, otherwise 400.
 */
export function sendUnreadableRequest(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  { requestId, publicUrl, logger }: UnreadableRequestDeps,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const code = UNREADABLE[error.code ?? ''] ?? 'malformed_http'
  const { status, title } = ERROR_CATALOGUE[code]
  logger.info({ problem: code, reason: error.code, request_id: requestId }, 'request refused')
  const problem: Problem = {
    type: problemType(code, publicUrl),
    title,
    status,
    code,
    detail: `${title}.`,
    request_id: requestId,
  }
  const body = JSON.stringify(problem)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    `content-type: ${PROBLEM_CONTENT_TYPE}`,
    `request-id: ${requestId}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

function log(request: FastifyRequest, error: AppError): void {
  // Refusals are expected, so they are logged without a stack.
  if (error.status < 500 || error.code === 'not_ready')
    request.log.info({ problem: error.code, ...loggedDetail(error) }, 'request refused')
  else {
    const err = error.cause ?? error
    // The logger redacts every member named `code`, because voucher codes have that name.
    const reason = err instanceof Error && 'code' in err ? err.code : undefined
    request.log.error({ problem: error.code, reason, err }, 'request failed')
  }
}

// The detail of a schema violation quotes the request, and a caller may send a voucher code as a
// field's name. So the log does not contain it.
function loggedDetail({ code, message }: AppError): { detail?: string } {
  return code === 'validation_failed' ? {} : { detail: message }
}

function toAppError(error: unknown, request: FastifyRequest): AppError {
  if (error instanceof AppError) return error
  if (hasZodFastifySchemaValidationErrors(error)) {
    return invalidFields(fieldErrorsOf(error, request))
  }
  if (isDatabaseUnavailable(error)) {
    return new AppError('database_unavailable', 'Retry the request in a few seconds.', {
      retryAfterSeconds: 2,
      cause: error,
    })
  }
  if (isDeadlock(error)) {
    return new AppError(
      'database_unavailable',
      'This request and another one waited for each other, so the database ended this one. Repeat it with the same Idempotency-Key.',
      { retryAfterSeconds: 1, cause: error },
    )
  }
  const { code, statusCode } = error as Partial<FastifyError>
  if (code === 'FST_ERR_BAD_URL') {
    return new AppError('validation_failed', 'The path is not a valid URL.', { cause: error })
  }
  if (code === 'FST_ERR_MAX_PARAM_LENGTH') {
    return new AppError('not_found', 'A segment of the path is too long.', { cause: error })
  }
  const known = code === undefined ? undefined : FASTIFY_CODES[code]
  if (known !== undefined) return new AppError(known, ERROR_CATALOGUE[known].help, { cause: error })
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new AppError('malformed_json', 'The request cannot be parsed.', { cause: error })
  }
  return new AppError(
    'internal',
    'Report this request_id to the operator of the service: its log contains the error.',
    { cause: error },
  )
}

/** Answers every error and every unknown path with a problem document. Routes are added after it. */
export function addProblemHandlers(app: FastifyInstance, publicUrl: string | null): void {
  app.decorate('publicUrl', publicUrl)
  const routes = new Map<string, { pattern: RegExp; methods: Set<string> }>()
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { pattern: patternOf(url), methods: new Set() }
    for (const each of [method].flat()) route.methods.add(each)
    routes.set(url, route)
  })
  app.decorate('methodsAt', (url: string) => {
    const path = url.replace(/\?.*/s, '').replace(/(?<=.)\/$/, '')
    const found = [...routes.values()].filter(({ pattern }) => pattern.test(path))
    return [...new Set(found.flatMap(({ methods }) => [...methods]))].toSorted()
  })
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error))
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, noRoute(request)))
}

/** Why no route takes the request: its path is unknown (404), or its method at this path (405). */
export function noRoute(request: FastifyRequest): AppError {
  const methods = request.server.methodsAt(request.url)
  if (methods.length === 0) return new AppError('not_found', 'There is no such path.')
  const detail = `This path supports ${methods.join(', ')}, not ${request.method}.`
  return new AppError('method_not_allowed', detail)
}

/** `/purchases/:purchase/cancel` matches `/purchases/bp_1/cancel`. A wildcard matches nothing: `/*` is no path. */
function patternOf(pattern: string): RegExp {
  const segments = pattern
    .split('/')
    .map((part) => (part.startsWith(':') ? '[^/]+' : escaped(part)))
  return new RegExp(`^${segments.join('/')}$`)
}

const escaped = (text: string) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  hasZodFastifySchemaValidationErrors,
  isResponseSerializationError,
} from 'fastify-type-provider-zod'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import {
  AppError,
  ERROR_CATALOGUE,
  type ErrorCode,
  type FieldError,
  problemType,
} from '../shared/errors.ts'
import { pointerPart } from './validation-errors.ts'

export const PROBLEM_CONTENT_TYPE = 'application/problem+json'

/** The body of every error: RFC 9457 plus a stable `code`, the broken rules and the request's id. */
type Problem = {
  type: string
  title: string
  status: number
  code: ErrorCode
  detail: string
  request_id: string
  errors?: FieldError[]
}

// Fastify's own refusals, before a handler runs.
const FASTIFY_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'malformed_json',
}

const PREFIXES = { body: '', querystring: 'query', params: 'params', headers: 'header' } as const

function fieldErrors(error: FastifyError): FieldError[] {
  const context = error.validationContext as keyof typeof PREFIXES | undefined
  const prefix = PREFIXES[context ?? 'body']
  return (error.validation ?? []).flatMap((issue): FieldError[] => {
    // The path of the whole is `/` here, which would begin a member's pointer twice.
    const base = issue.instancePath === '/' ? prefix : `${prefix}${issue.instancePath}`
    const { keys } = issue.params as { keys?: string[] }
    if (issue.keyword === 'unrecognized_keys' && keys !== undefined) {
      return keys.map((key) => ({
        pointer: `${base}/${pointerPart(key)}`,
        detail: 'This field is not known.',
      }))
    }
    return [{ pointer: base === '' ? '/' : base, detail: issue.message ?? 'is not valid' }]
  })
}

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = fieldErrors(error)
    const detail = errors.map(({ pointer, detail }) => `${pointer}: ${detail}`).join('; ')
    return new AppError('validation_failed', detail, { errors })
  }
  if (isDatabaseUnavailable(error)) {
    return new AppError('database_unavailable', 'Please try again in a moment.', {
      retryAfterSeconds: 2,
      cause: error,
    })
  }
  const { code, statusCode } = error as Partial<FastifyError>
  if (code === 'FST_ERR_BAD_URL') {
    return new AppError('validation_failed', 'The path is not a valid URL.', { cause: error })
  }
  if (code === 'FST_ERR_MAX_PARAM_LENGTH') {
    return new AppError('not_found', 'A part of the path is too long.', { cause: error })
  }
  const known = code === undefined ? undefined : FASTIFY_CODES[code]
  if (known !== undefined)
    return new AppError(known, ERROR_CATALOGUE[known].title, { cause: error })
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new AppError('malformed_json', 'The request could not be read.', { cause: error })
  }
  return new AppError('internal', 'The error was logged under this request id.', { cause: error })
}

// What breaks a schema is quoted in the answer, and a caller may put a code where a field's name
// belongs; the log gets none of it.
function loggedDetail({ code, message }: AppError): { detail?: string } {
  return code === 'validation_failed' ? {} : { detail: message }
}

function log(request: FastifyRequest, error: AppError): void {
  // A refusal is ordinary and needs no stack; our own failures do.
  if (error.status < 500 || error.code === 'not_ready')
    request.log.info({ problem: error.code, ...loggedDetail(error) }, 'refused')
  else {
    const err = error.cause ?? error
    // Of an error itself `code` is redacted, since elsewhere a voucher's secret has that name.
    const reason = err instanceof Error && 'code' in err ? err.code : undefined
    request.log.error({ problem: error.code, reason, err }, 'failed')
  }
}

/** Sends an error as a problem document, with `Retry-After` where waiting helps. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: unknown): void {
  const known = toAppError(error)
  if (error instanceof Error && isResponseSerializationError(error)) {
    request.log.error({ issues: error.cause?.issues }, 'response breaks its own schema')
  }
  log(request, known)
  const { title } = ERROR_CATALOGUE[known.code]
  const problem: Problem & Record<string, unknown> = {
    type: problemType(known.code),
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
  // Again, for what fastify refuses before any hook runs.
  void reply.header('request-id', request.id)
  if (known.code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer')
  void reply.code(known.status).type(PROBLEM_CONTENT_TYPE).serializer(JSON.stringify).send(problem)
}

/** Makes every error of the server, and every unknown path, a problem document. */
export function addProblemHandlers(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error))
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      request,
      reply,
      new AppError('not_found', `There is no ${request.method} on this path.`),
    ),
  )
}

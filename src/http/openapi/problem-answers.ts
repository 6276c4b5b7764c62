import { ERROR_CATALOGUE, type ErrorCode, problemType } from '../../shared/errors.ts'
import type { AccessRule } from '../access-rule.ts'
import { PROBLEM_CONTENT_TYPE } from '../problem.ts'
import { type Answer, type Example, type JsonSchema, refTo } from './api-document.ts'

const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[]

/** The body of every error. `errors` and the members beyond these depend on the code. */
export const PROBLEM_SCHEMA: JsonSchema = {
  type: 'object',
  description:
    'RFC 9457. Program against `code`; `title` and `detail` are for people. Some codes bring further members, such as the state that refused.',
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: CODES },
    detail: { type: 'string' },
    request_id: { type: 'string', description: 'Also in the Request-Id header and in our logs.' },
    errors: { type: 'array', items: refTo('schemas', 'ProblemField') },
  },
  required: ['type', 'title', 'status', 'code', 'detail', 'request_id'],
  additionalProperties: true,
}

export const PROBLEM_FIELD_SCHEMA: JsonSchema = {
  type: 'object',
  description: 'One broken rule.',
  properties: {
    pointer: {
      type: 'string',
      description: 'A JSON pointer into the body, or `query/…`, `header/…`, `params/…`.',
      example: '/quantity',
    },
    detail: { type: 'string', example: 'Too small: expected number to be >=1' },
  },
  required: ['pointer', 'detail'],
}

const DETAILS: Partial<Record<ErrorCode, object>> = {
  validation_failed: {
    detail: '/quantity: Too small: expected number to be >=1',
    errors: [{ pointer: '/quantity', detail: 'Too small: expected number to be >=1' }],
  },
  wrong_state: { detail: 'A purchase that is PAID cannot be cancelled.', state: 'PAID' },
  unauthenticated: { detail: 'The API key is unknown, expired or revoked.' },
  forbidden: { detail: 'This key needs the scope purchases:write.' },
  not_found: { detail: 'There is no such purchase.' },
}

/** One example document of each code. */
export function problemExamples(): Record<string, Example> {
  const examples = CODES.map((code): [string, Example] => {
    const { status, title } = ERROR_CATALOGUE[code]
    const type = problemType(code)
    const value = { type, title, status, code, detail: `${title}.`, request_id: 'req_01J9ZX3QK8' }
    return [code, { summary: title, value: { ...value, ...DETAILS[code] } }]
  })
  return Object.fromEntries(examples)
}

export type OperationFacts = {
  access: AccessRule
  rateLimited: boolean
  hasPathParameters: boolean
  hasBody: boolean
  takesIdempotencyKey: boolean
}

/** The codes that follow from what a route is; its own are added by api-docs. */
export function codesThatFollow(route: OperationFacts): ErrorCode[] {
  const isPublic = route.access === 'public'
  const isStripe = route.access === 'stripe'
  const groups: [boolean, ErrorCode[]][] = [
    [!isPublic, ['not_ready', 'database_unavailable']],
    [!isPublic && !isStripe, ['validation_failed', 'unauthenticated', 'forbidden']],
    [!isStripe && route.rateLimited, ['rate_limited']],
    [route.hasPathParameters, ['not_found']],
    [route.hasBody, ['payload_too_large']],
    [route.hasBody && !isStripe, ['malformed_json', 'unsupported_media_type']],
    [route.takesIdempotencyKey, ['idempotency_in_progress', 'idempotency_key_reused']],
    [true, ['internal']],
  ]
  return groups.flatMap(([applies, codes]) => (applies ? codes : []))
}

const RETRY_AFTER: readonly ErrorCode[] = [
  'rate_limited',
  'idempotency_in_progress',
  'not_ready',
  'database_unavailable',
  'stripe_failed',
  'stripe_unavailable',
]

function headersFor(codes: ErrorCode[]): Record<string, object> {
  return {
    'Request-Id': refTo('headers', 'RequestId'),
    ...(codes.some((code) => RETRY_AFTER.includes(code))
      ? { 'Retry-After': refTo('headers', 'RetryAfter') }
      : {}),
    ...(codes.includes('unauthenticated')
      ? { 'WWW-Authenticate': refTo('headers', 'WwwAuthenticate') }
      : {}),
  }
}

function answerFor(codes: ErrorCode[]): Answer {
  return {
    description: codes.map((code) => `\`${code}\`: ${ERROR_CATALOGUE[code].title}.`).join('\n'),
    headers: headersFor(codes),
    content: {
      [PROBLEM_CONTENT_TYPE]: {
        schema: refTo('schemas', 'Problem'),
        examples: Object.fromEntries(codes.map((code) => [code, refTo('examples', code)])),
      },
    },
  }
}

/** One answer for each status among the codes, in the order of the catalogue. */
export function problemAnswers(codes: readonly ErrorCode[]): Record<string, Answer> {
  const ordered = CODES.filter((code) => codes.includes(code))
  const statuses = new Set(ordered.map((code) => ERROR_CATALOGUE[code].status))
  const answers = [...statuses].map((status): [string, Answer] => [
    String(status),
    answerFor(ordered.filter((code) => ERROR_CATALOGUE[code].status === status)),
  ])
  return Object.fromEntries(answers)
}

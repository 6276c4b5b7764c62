import { isDeepStrictEqual } from 'node:util'
import { ERROR_CATALOGUE, type ErrorCode, problemType } from '../../shared/errors.ts'
import type { AccessRule } from '../access-control.ts'
import { PROBLEM_CONTENT_TYPE } from '../problem.ts'
import {
  type Answer,
  type ApiDocument,
  type Example,
  type JsonSchema,
  operationsOf,
  type Parameter,
  refTo,
} from './api-document.ts'

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

export const SHARED_PARAMETERS: Record<string, Parameter> = {
  IdempotencyKey: {
    name: 'Idempotency-Key',
    in: 'header',
    required: false,
    description:
      'Your own random id of this request. Sent again within 24 hours with the same body, the request is not done twice: it gets the first answer or goes on where the first one stopped.',
    schema: { type: 'string', minLength: 1, maxLength: 255 },
    example: '5f2b8e0e-6a0b-4a0e-9a57-0d6f1c1b7a11',
  },
}

export const SHARED_HEADERS: Record<string, object> = {
  RequestId: {
    description:
      "This request's name in our logs; the caller's own X-Request-Id where it sent one.",
    schema: { type: 'string' },
  },
  RetryAfter: {
    description: 'Try again after so many seconds.',
    schema: { type: 'integer', minimum: 1 },
  },
  WwwAuthenticate: { schema: { type: 'string', const: 'Bearer' } },
}

type Common = {
  component: string
  in: Parameter['in']
  description?: string
  example?: string
}

/** Parameters that many operations have, by name. */
const COMMON: Record<string, Common> = {
  conference: {
    component: 'Conference',
    in: 'path',
    description: 'The slug or the id of the conference.',
    example: 'pycon-2027',
  },
  purchase: {
    component: 'Purchase',
    in: 'path',
    description: 'The id of the purchase.',
    example: 'bp_3hTq8ZsW1nLd',
  },
  code: { component: 'Code', in: 'path' },
  limit: { component: 'Limit', in: 'query' },
  cursor: { component: 'Cursor', in: 'query' },
  created_after: {
    component: 'CreatedAfter',
    in: 'query',
    description: 'Only what was created after this moment.',
  },
  created_before: {
    component: 'CreatedBefore',
    in: 'query',
    description: 'Only what was created before this moment.',
  },
}

/** What an id in a path is of: `…/ticket-types/{id}` of a ticket type, `…/{event}` of an event. */
function idOf(path: string, name: string): string {
  const collection = path.split('/').at(path.split('/').indexOf(`{${name}}`) - 1) ?? ''
  const noun = name === 'id' ? collection.replace(/s$/, '').replaceAll('-', ' ') : name
  return `The id of the ${noun}.`
}

function describe(parameter: Parameter, path: string): Parameter {
  if (parameter.in !== 'path' || parameter.description !== undefined) return parameter
  return { ...parameter, description: idOf(path, parameter.name) }
}

/** Describes all parameters and moves those that many operations have to the components. In place. */
export function shareParameters(document: ApiDocument): void {
  const { parameters: shared } = document.components
  for (const { path, operation } of operationsOf(document)) {
    if (operation.parameters === undefined) continue
    operation.parameters = operation.parameters.map((parameter) => {
      if ('$ref' in parameter) return parameter
      const common = COMMON[parameter.name]
      if (common?.in !== parameter.in) return describe(parameter, path)
      const { component, ...words } = common
      const whole: Parameter = { ...parameter, ...words }
      shared[component] ??= whole
      return isDeepStrictEqual(shared[component], whole) ? refTo('parameters', component) : whole
    })
  }
}

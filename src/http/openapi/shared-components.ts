import { ERROR_CATALOGUE, type ErrorCode, problemType } from '../../shared/errors.ts'
import type { AccessRule } from '../access-control.ts'
import { PROBLEM_CONTENT_TYPE } from '../problem.ts'
import {
  type Answer,
  type ApiDocument,
  type JsonSchema,
  type Operation,
  operationsOf,
  type Parameter,
  type PathItem,
  refTo,
} from './api-document.ts'

const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[]

const statusOf = (code: ErrorCode) => ERROR_CATALOGUE[code].status

/** `payment_in_progress` as `PaymentInProgress`: the name of a component. */
export const pascal = (name: string) =>
  name.replaceAll(/(?:^|[_ -])([a-z])/g, (_, letter: string) => letter.toUpperCase())

// The documents of these codes have more than the members that follow from the catalogue.
const EXAMPLES: readonly { code: ErrorCode; detail: string; [member: string]: unknown }[] = [
  {
    code: 'validation_failed',
    detail: 'quantity must be at least 1',
    errors: [{ pointer: '/quantity', detail: 'must be at least 1' }],
  },
  { code: 'unauthenticated', detail: 'The API key is unknown, expired or revoked.' },
  { code: 'forbidden', detail: 'The scope purchases:write is missing.' },
  { code: 'not_found', detail: 'There is no such purchase.' },
  {
    code: 'wrong_state',
    detail: 'Cancellation is not possible: the purchase is already PAID.',
    state: 'PAID',
  },
]

/** The body of every error. `errors` and the members beyond these depend on the code. */
const PROBLEM_SCHEMA: JsonSchema = {
  type: 'object',
  description:
    'An error (RFC 9457). Use `code` in programs; `title` and `detail` are for people. Some codes add fields, such as `state`: the state that does not allow the request.',
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: CODES },
    detail: { type: 'string' },
    request_id: {
      type: 'string',
      description:
        'The id of the request. The Request-Id header and the logs of the service contain it too.',
    },
    errors: { type: 'array', items: refTo('schemas', 'ProblemField') },
  },
  required: ['type', 'title', 'status', 'code', 'detail', 'request_id'],
  additionalProperties: true,
  examples: EXAMPLES.map(({ code, detail, ...more }) => {
    const { status, title } = ERROR_CATALOGUE[code]
    const type = problemType(code)
    return { type, title, status, code, detail, request_id: 'req_01J9ZX3QK8', ...more }
  }),
}

const PROBLEM_FIELD_SCHEMA: JsonSchema = {
  type: 'object',
  description: 'A field and the rule that it breaks.',
  properties: {
    pointer: {
      type: 'string',
      description:
        'A JSON pointer into the body, or `query/…`, `header/…`, `params/…`, or `line/3/email` in an uploaded file.',
      examples: ['/quantity'],
    },
    detail: { type: 'string', examples: ['must be at least 1'] },
  },
  required: ['pointer', 'detail'],
}

export const PROBLEM_SCHEMAS = { Problem: PROBLEM_SCHEMA, ProblemField: PROBLEM_FIELD_SCHEMA }

export type OperationFacts = {
  access: AccessRule
  rateLimited: boolean
  hasPathParameters: boolean
  hasBody: boolean
  takesIdempotencyKey: boolean
}

/** The codes that follow from what a route is; api-docs adds its own. */
function codesThatFollow(route: OperationFacts): ErrorCode[] {
  // The pages of the service need no database, but sign-in does.
  const isPage = route.access === 'public' && !route.hasBody
  const isOfKey = route.access !== 'public' && route.access !== 'stripe'
  const isStripe = route.access === 'stripe'
  const groups: [boolean, ErrorCode[]][] = [
    [!isPage, ['not_ready', 'database_unavailable']],
    [!isPage && !isStripe, ['validation_failed', 'unauthenticated']],
    [isOfKey, ['forbidden']],
    [!isStripe && route.rateLimited, ['rate_limited']],
    [route.hasPathParameters, ['not_found']],
    [route.hasBody, ['payload_too_large']],
    [route.hasBody && !isStripe, ['malformed_json', 'unsupported_media_type']],
    [route.takesIdempotencyKey, ['idempotency_in_progress', 'idempotency_key_reused']],
    // Node refuses these before it knows the route.
    [true, ['malformed_http', 'request_timeout', 'request_header_too_large', 'internal']],
  ]
  return groups.flatMap(([applies, codes]) => (applies ? codes : []))
}

/** What a request to Stripe may end with. An operation that makes one answers all of them. */
export const STRIPE_PROBLEMS: readonly ErrorCode[] = [
  'stripe_key_missing',
  'stripe_refused',
  'stripe_key_rejected',
  'stripe_failed',
  'stripe_unavailable',
]

/** The problems that operations of one sort have in common, and the name of their component. */
function commonProblems(
  route: OperationFacts,
  own: readonly ErrorCode[],
): { name: string; codes: ErrorCode[] } {
  const callsStripe = STRIPE_PROBLEMS.every((code) => own.includes(code))
  const isOfKey = route.access !== 'public' && route.access !== 'stripe'
  // Only PUT has a body and takes no Idempotency-Key.
  const isPut = isOfKey && !route.takesIdempotencyKey
  const parts = [
    route.access === 'public' ? (route.rateLimited ? 'Public' : 'Unlimited') : '',
    route.access === 'stripe' ? 'Webhook' : '',
    isOfKey && !route.hasPathParameters ? 'Platform' : '',
    callsStripe ? 'Stripe' : '',
    route.hasBody && route.access !== 'stripe' ? (isPut ? 'Put' : 'Write') : '',
    'Problem',
  ]
  const codes = [...codesThatFollow(route), ...(callsStripe ? STRIPE_PROBLEMS : [])]
  return { name: parts.join(''), codes: inCatalogueOrder(codes) }
}

const inCatalogueOrder = (codes: readonly ErrorCode[]) =>
  CODES.filter((code) => codes.includes(code))

const RETRY_AFTER: readonly ErrorCode[] = [
  'rate_limited',
  'idempotency_in_progress',
  'not_ready',
  'database_unavailable',
  'stripe_failed',
  'stripe_unavailable',
]

function headersFor(codes: readonly ErrorCode[]): Record<string, object> {
  return {
    ...(codes.some((code) => RETRY_AFTER.includes(code))
      ? { 'Retry-After': refTo('headers', 'RetryAfter') }
      : {}),
    ...(codes.includes('unauthenticated')
      ? { 'WWW-Authenticate': refTo('headers', 'WwwAuthenticate') }
      : {}),
  }
}

function problemAnswer(codes: readonly ErrorCode[], more: Record<string, object>): Answer {
  const headers = { ...headersFor(codes), ...more }
  const schema = {
    allOf: [refTo('schemas', 'Problem')],
    properties: { code: { enum: codes } },
  }
  return {
    description: describeStatuses(codes),
    ...(Object.keys(headers).length > 0 ? { headers } : {}),
    content: { [PROBLEM_CONTENT_TYPE]: { schema } },
  }
}

/** `Error 400, 401 or 503`: the schema lists the codes, and the introduction the status of each. */
function describeStatuses(codes: readonly ErrorCode[]): string {
  const statuses = [...new Set(codes.map(statusOf))].toSorted((a, b) => a - b)
  const last = statuses.at(-1)
  const before = statuses.slice(0, -1).join(', ')
  return before === '' ? `Error ${last}` : `Error ${before} or ${last}`
}

/** The codes of a problem answer of the document; none for another answer. */
export function problemCodesOf({ content }: Answer): string[] {
  const properties = content?.[PROBLEM_CONTENT_TYPE]?.schema['properties'] ?? {}
  const { code } = properties as { code?: { enum: string[] } }
  return code?.enum ?? []
}

/**
 * The problem answers of an operation, as references: `default` for all that operations of its sort
 * have in common, and one for each status at which it has codes of its own. That one names the common
 * codes of its status too, since a status replaces the default. The headers of the rate limit stand in the
 * default only, to keep the document short.
 *
 * @param own codes beside those that follow from the route.
 * @param shared components.responses, to which the answers are added.
 */
export function problemAnswers(
  route: OperationFacts,
  own: readonly ErrorCode[],
  shared: Record<string, Answer>,
): Record<string, { $ref: string }> {
  const { name, codes: common } = commonProblems(route, own)
  const add = (component: string, codes: readonly ErrorCode[], headers = {}) => {
    shared[component] ??= problemAnswer(codes, headers)
    return refTo('responses', component)
  }
  const statuses = new Set(own.filter((code) => !common.includes(code)).map(statusOf))
  const answers = [...statuses]
    .toSorted((a, b) => a - b)
    .map((status) => {
      const codes = inCatalogueOrder([...common, ...own]).filter(
        (code) => statusOf(code) === status,
      )
      const ownCodes = codes.filter((code) => !common.includes(code)).map(pascal)
      // Without the path's own part of the name: it adds no code to these statuses.
      const component = name.replace('Platform', '').replace('Problem', ownCodes.join('Or'))
      return [String(status), add(component, codes)] as const
    })
  return { ...Object.fromEntries(answers), default: add(name, common, rateLimitHeaders(route)) }
}

export const SHARED_HEADERS: Record<string, object> = {
  RetryAfter: {
    description: 'Seconds to wait before a retry.',
    schema: { type: 'integer', minimum: 1 },
  },
  WwwAuthenticate: { schema: { type: 'string', const: 'Bearer' } },
  Limit: {
    description: 'Requests per minute that the key may send; without a key, the address.',
    schema: { type: 'integer', minimum: 1 },
  },
  Remaining: {
    description: 'Requests that are left in this minute.',
    schema: { type: 'integer', minimum: 0 },
  },
  Reset: {
    description: 'Seconds until the full number is available again.',
    schema: { type: 'integer', minimum: 0, maximum: 60 },
  },
}

/**
 * The headers of every response of a route with a limit, except where the request was refused before it
 * was counted: by its key, its conference or its schema.
 */
const RATE_LIMIT_HEADERS: Record<string, object> = {
  'X-RateLimit-Limit': refTo('headers', 'Limit'),
  'X-RateLimit-Remaining': refTo('headers', 'Remaining'),
  'X-RateLimit-Reset': refTo('headers', 'Reset'),
}

/** The headers that say how many requests are left; none for a route without a limit. */
export function rateLimitHeaders({
  access,
  rateLimited,
}: Pick<OperationFacts, 'access' | 'rateLimited'>): Record<string, object> {
  return rateLimited && access !== 'stripe' ? RATE_LIMIT_HEADERS : {}
}

export const IDEMPOTENCY_KEY: Parameter = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'A random id of this request, chosen by the caller, such as a UUID. A repeat within 24 hours with the same key and body returns the first response with the header `Idempotent-Replayed: true`, or resumes the first request if it was interrupted. The work is done once.',
  // Without an example: a form would send it with every request, and the second would be a repeat.
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[ -~]*$' },
}

/** What the document says of a parameter of this name, wherever it occurs. */
const WORDS: Record<string, Pick<Parameter, 'in'> & Partial<Parameter>> = {
  conference: {
    in: 'path',
    description: 'The slug or the id of the conference.',
    example: 'pycon-2027',
  },
  purchase: { in: 'path', description: 'The id of the purchase.', example: 'bp_3hTq8ZsW1nLd' },
  code: { in: 'path', description: 'The voucher code.' },
  resource: { in: 'path', description: 'The name of a mirrored resource.', example: 'coupons' },
  created_after: { in: 'query', description: 'Only objects created after this time.' },
  created_before: { in: 'query', description: 'Only objects created before this time.' },
}

/** What an id in a path is of: `…/ticket-types/{id}` of a ticket type, `…/{event}` of an event. */
function nounOf(path: string, name: string): string {
  const collection = path.split('/').at(path.split('/').indexOf(`{${name}}`) - 1) ?? ''
  const plain = collection.startsWith('{') ? 'object' : collection.replace(/s$/, '')
  return (name === 'id' ? plain : name).replaceAll(/[-_]/g, ' ')
}

/** The nouns in texts that differ from the names in paths. */
const NOUNS: Record<string, string> = {
  'add on': 'add-on',
  'api key': 'API key',
  batch: 'voucher batch',
  delivery: 'webhook delivery',
  event: 'Stripe event',
  run: 'sync run',
}

function describeParameter({ required, ...rest }: Parameter, path: string): Parameter {
  const words = WORDS[rest.name]
  const parameter = { ...rest, ...(required === true ? { required } : {}) }
  if (words?.in === rest.in) return { ...parameter, ...words }
  if (rest.in !== 'path' || rest.description !== undefined) return parameter
  const noun = nounOf(path, rest.name)
  return { ...parameter, description: `The id of the ${NOUNS[noun] ?? noun}.` }
}

/**
 * Describes all parameters, moves those in a path from its operations to the path, and moves those that
 * occur several times to the components. In place.
 *
 * @throws Error if operations of one path describe it differently.
 */
export function shareParameters(document: ApiDocument): void {
  const { paths } = document
  for (const { path, operation } of operationsOf(document)) {
    if (operation.parameters === undefined) continue
    operation.parameters = operation.parameters.map((parameter) =>
      '$ref' in parameter ? parameter : describeParameter(parameter, path),
    )
  }
  for (const [path, item] of Object.entries(paths)) {
    moveToPath(
      item,
      operationsOf({ paths: { [path]: item } }).map(({ operation }) => operation),
    )
  }
  shareRepeatedParameters(document)
}

type Parameters = NonNullable<Operation['parameters']>

function moveToPath(item: PathItem, operations: Operation[]): void {
  const isInPath = (parameter: Parameters[number]) => 'in' in parameter && parameter.in === 'path'
  const inPath = operations.map(({ parameters = [] }) => parameters.filter(isInPath))
  const [first = []] = inPath
  if (new Set(inPath.map((parameters) => JSON.stringify(parameters))).size > 1) {
    throw new Error(`Operations differ in their path: ${operations[0]?.operationId}`)
  }
  if (first.length === 0) return
  item.parameters = first
  for (const operation of operations) {
    const rest = (operation.parameters ?? []).filter((parameter) => !isInPath(parameter))
    if (rest.length > 0) operation.parameters = rest
    else delete operation.parameters
  }
}

/** What has parameters: paths and operations. */
function ownersOf(document: ApiDocument): { path: string; owner: PathItem | Operation }[] {
  return [
    ...Object.entries(document.paths).map(([path, owner]) => ({ path, owner })),
    ...operationsOf(document).map(({ path, operation }) => ({ path, owner: operation })),
  ]
}

function shareRepeatedParameters(document: ApiDocument): void {
  const seen = new Map<string, { whole: Parameter; path: string; uses: number }>()
  for (const { path, owner } of ownersOf(document)) {
    for (const whole of owner.parameters ?? []) {
      if ('$ref' in whole) continue
      const text = JSON.stringify(whole)
      seen.set(text, { whole, path, uses: (seen.get(text)?.uses ?? 0) + 1 })
    }
  }
  const { parameters: shared } = document.components
  const names = new Map<string, string>()
  for (const [text, { whole, path, uses }] of seen) {
    if (uses > 1) names.set(text, componentName(shared, whole, path))
  }
  for (const { owner } of ownersOf(document)) {
    if (owner.parameters === undefined) continue
    owner.parameters = owner.parameters.map((parameter) => {
      const name = names.get(JSON.stringify(parameter))
      return name === undefined ? parameter : refTo('parameters', name)
    })
  }
}

/** Adds the parameter to the components under a name of its own. Several have one name: `status`. */
function componentName(shared: Record<string, Parameter>, whole: Parameter, path: string): string {
  const base = pascal(whole.in === 'path' ? `${nounOf(path, whole.name)} id` : whole.name)
  const names = [base, ...Array.from({ length: 9 }, (_, index) => `${base}${index + 2}`)]
  const name = names.find((one) => !(one in shared))
  if (name === undefined) throw new Error(`Too many parameters are called ${base}`)
  shared[name] = whole
  return name
}

import type { AccessRule } from '../access-control.ts'
import {
  type Answer,
  type ApiDescription,
  type ApiDocument,
  type Components,
  type Example,
  type JsonSchema,
  type Media,
  type Operation,
  type OperationDocs,
  operationsOf,
  type RawBody,
  refTo,
} from './api-document.ts'
import {
  IDEMPOTENCY_KEY,
  PROBLEM_SCHEMAS,
  pascal,
  problemAnswers,
  rateLimitHeaders,
  SHARED_HEADERS,
  shareParameters,
} from './shared-components.ts'
import {
  inReadingOrder,
  nameBodies,
  oneComponentEach,
  shareParts,
  spellShort,
} from './tidy-document.ts'

/** Adds access, problems, examples and shared components to the generated document. Changes its input. */
export function finishDocument(generated: ApiDocument, description: ApiDescription): ApiDocument {
  const document = { ...spellShort(generated), security: [{ [API_KEY]: [] }, { [SESSION]: [] }] }
  document.components = {
    schemas: { ...document.components.schemas, ...PROBLEM_SCHEMAS },
    parameters: { IdempotencyKey: IDEMPOTENCY_KEY },
    headers: SHARED_HEADERS,
    responses: {},
    examples: {},
    securitySchemes: SECURITY_SCHEMES,
  }
  for (const place of operationsOf(document)) {
    const docs = description.operations[place.operation.operationId] ?? {}
    describeOperation(place, docs, document.components)
  }
  nameBodies(document)
  shareParameters(document)
  shareAnswers(document)
  const finished = inReadingOrder(oneComponentEach(document))
  shareParts(finished)
  addExamples(finished, description.examples)
  return finished
}

const SUCCESS: Record<string, string> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted; the work continues in the background',
  204: 'No content',
}

type Place = { path: string; method: string; operation: Operation }

/** A key belongs to a caller, so an operation without one takes none. */
function takesIdempotencyKey({ path, method }: Place, access: AccessRule): boolean {
  const isWrite = method === 'post' || method === 'patch'
  return path.startsWith('/v1/') && isWrite && access !== 'public'
}

/** A single example needs no name, unless it has something to say. */
function addRequestExamples(media: Media, requests: Record<string, Example>): void {
  const [first, ...others] = Object.values(requests)
  if (first !== undefined && first.summary === undefined && others.length === 0) {
    media.example = first.value
  } else {
    media.examples = requests
  }
}

function describeBody({ requestBody }: Operation, required: boolean, docs: OperationDocs): void {
  if (requestBody === undefined) return
  // false is the default.
  if (required) requestBody.required = true
  else delete requestBody.required
  for (const [type, media] of Object.entries(requestBody.content)) {
    // `.nullish()` means that a body may be absent; here `required` expresses that.
    const [schema, empty] = (media.schema['anyOf'] ?? []) as JsonSchema[]
    if (schema !== undefined && empty?.['type'] === 'null') media.schema = schema
    if (type === 'application/json' && docs.requests) addRequestExamples(media, docs.requests)
  }
}

function rawBody({
  type,
  description,
  schema,
  example,
}: RawBody): NonNullable<Operation['requestBody']> {
  const media: Media = example === undefined ? { schema } : { schema, example }
  return { required: true, description, content: { [type]: media } }
}

/** The examples of answers are long, so they stand among the components. */
function describeSuccess(
  { operationId, responses }: Operation,
  docs: OperationDocs,
  headers: Record<string, object>,
  shared: Components['examples'],
): void {
  const examples = Object.entries(docs.answers ?? {}).map(([name, example]) => {
    const component = pascal(`_${operationId}_${name}`)
    shared[component] = example
    return [name, refTo('examples', component)] as const
  })
  for (const [status, answer] of Object.entries(responses)) {
    if ('$ref' in answer) continue
    if (answer.description === 'Default Response') answer.description = SUCCESS[status] ?? 'OK'
    if (Object.keys(headers).length > 0) answer.headers = { ...answer.headers, ...headers }
    const json = answer.content?.['application/json']
    if (json !== undefined && examples.length > 0) json.examples = Object.fromEntries(examples)
  }
}

function describeOperation(place: Place, docs: OperationDocs, shared: Components): void {
  const { operation } = place
  const route = operation['x-route']
  delete operation['x-route']
  if (route === undefined) throw new Error(`${place.method} ${place.path} was not described`)
  Object.assign(operation, securityOf(route.access), { 'x-access': accessOf(route.access) })
  if (docs.rawBody !== undefined) operation.requestBody = rawBody(docs.rawBody)
  else describeBody(operation, route.bodyRequired, docs)
  describeSuccess(operation, docs, rateLimitHeaders(route), shared.examples)
  const facts = {
    ...route,
    hasPathParameters: place.path.includes('{'),
    // Fastify parses the body of a POST even if the route takes none.
    hasBody: ['post', 'put', 'patch'].includes(place.method),
    takesIdempotencyKey: takesIdempotencyKey(place, route.access),
  }
  // The first declaration wins: a route may describe an error status of its own.
  Object.assign(operation.responses, {
    ...problemAnswers(facts, docs.problems ?? [], shared.responses),
    ...operation.responses,
  })
  if (!facts.takesIdempotencyKey) return
  operation.parameters = [...(operation.parameters ?? []), refTo('parameters', 'IdempotencyKey')]
}

/** Moves success answers that several operations have in common to the components. */
function shareAnswers(document: ApiDocument): void {
  const uses = new Map<string, { operation: Operation; status: string; answer: Answer }[]>()
  for (const { operation } of operationsOf(document)) {
    for (const [status, answer] of Object.entries(operation.responses)) {
      if ('$ref' in answer) continue
      const text = JSON.stringify([status, answer])
      uses.set(text, [...(uses.get(text) ?? []), { operation, status, answer }])
    }
  }
  const { responses } = document.components
  for (const places of uses.values()) {
    const [first] = places
    const name = first === undefined ? null : successName(first.answer, first.status)
    if (first === undefined || name === null || places.length < 2) continue
    if (name in responses) throw new Error(`Two answers are called ${name}`)
    responses[name] = first.answer
    for (const { operation, status } of places) {
      operation.responses[status] = refTo('responses', name)
    }
  }
}

/** `Purchase`, or `CreatedPurchase` with the status 201; null for an answer without a named schema. */
function successName({ content }: Answer, status: string): string | null {
  if (content === undefined) return status === '204' ? 'NoContent' : null
  const reference = content['application/json']?.schema['$ref']
  if (typeof reference !== 'string') return null
  const prefix = { 201: 'Created', 202: 'Accepted' }[status] ?? ''
  return prefix + (reference.split('/').at(-1) ?? '')
}

/** Adds the examples of objects to their schemas. */
function addExamples(
  { components }: ApiDocument,
  examples: Readonly<Record<string, unknown>>,
): void {
  for (const [name, example] of Object.entries(examples)) {
    const schema = components.schemas[name]
    if (schema === undefined) throw new Error(`There is no schema ${name} for the example`)
    schema['examples'] = [example]
  }
}

// Names of the security schemes in the document.
const API_KEY = 'apiKey'
const SESSION = 'session'
const STRIPE_SIGNATURE = 'stripeSignature'

const SECURITY_SCHEMES = {
  [API_KEY]: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key: `Authorization: Bearer <key>`. Its role is operator (the platform), staff (one conference, with scopes) or sponsor (one sponsor).',
  },
  [SESSION]: {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-sv_session',
    description:
      'The session of a person, for the pages of this service. Without https the name is `sv_session`.',
  },
  [STRIPE_SIGNATURE]: {
    type: 'apiKey',
    in: 'header',
    name: 'Stripe-Signature',
    description: "Stripe's signature over the raw body, by a webhook secret of the conference.",
  },
}

/** The rule as data: `roles` that may call, and the scopes of which a staff key needs one. */
type Access = { roles: string[]; scopes?: readonly string[] }

function accessOf(rule: AccessRule): Access {
  if (rule === 'public') return { roles: ['anyone'] }
  if (rule === 'stripe') return { roles: ['stripe'] }
  if (rule === 'authenticated') return { roles: ['operator', 'staff', 'sponsor'] }
  if (rule === 'operator') return { roles: ['operator'] }
  if (rule === 'staff') return { roles: ['operator', 'staff'] }
  const sponsors = rule.sponsor === true ? ['sponsor'] : []
  return { roles: ['operator', 'staff', ...sponsors], scopes: rule.anyOf }
}

/** What differs from the document's own `security`. */
function securityOf(rule: AccessRule): Pick<Operation, 'security'> {
  if (rule === 'public') return { security: [] }
  return rule === 'stripe' ? { security: [{ [STRIPE_SIGNATURE]: [] }] } : {}
}

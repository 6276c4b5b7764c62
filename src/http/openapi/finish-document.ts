import type { ErrorCode } from '../../shared/errors.ts'
import type { AccessRule } from '../access-control.ts'
import {
  type ApiDocs,
  type ApiDocument,
  type JsonSchema,
  type Operation,
  type OperationDocs,
  operationsOf,
  type RouteFacts,
  refTo,
} from './api-document.ts'
import {
  codesThatFollow,
  PROBLEM_FIELD_SCHEMA,
  PROBLEM_SCHEMA,
  problemAnswers,
  problemExamples,
  SHARED_HEADERS,
  SHARED_PARAMETERS,
  shareParameters,
} from './shared-components.ts'
import { inReadingOrder, nameBodies, oneComponentEach, spellShort } from './tidy-document.ts'

const SUCCESS: Record<string, string> = {
  200: 'Success.',
  201: 'Created.',
  202: 'Accepted; the work goes on after the answer.',
  204: 'Done; there is no content.',
}

const ANY_OBJECT: JsonSchema = { type: 'object' }

type Place = { path: string; method: string; operation: Operation }

function takesIdempotencyKey({ path, method }: Place): boolean {
  return path.startsWith('/v1/') && (method === 'post' || method === 'patch')
}

function describeBody({ requestBody }: Operation, required: boolean, docs: OperationDocs): void {
  if (requestBody === undefined) return
  requestBody.required = required
  for (const [type, media] of Object.entries(requestBody.content)) {
    // `.nullish()` says that a body may be absent, which `required` says here.
    const [schema, empty] = (media.schema['anyOf'] ?? []) as JsonSchema[]
    if (schema !== undefined && empty?.['type'] === 'null') media.schema = schema
    if (type === 'application/json' && docs.requests) media.examples = docs.requests
  }
}

function rawBody(description: string): NonNullable<Operation['requestBody']> {
  return { required: true, description, content: { 'application/json': { schema: ANY_OBJECT } } }
}

function describeSuccess({ responses }: Operation, docs: OperationDocs): void {
  for (const [status, answer] of Object.entries(responses)) {
    if ('$ref' in answer) continue
    if (answer.description === 'Default Response')
      answer.description = SUCCESS[status] ?? 'Success.'
    answer.headers = { 'Request-Id': refTo('headers', 'RequestId'), ...answer.headers }
    const json = answer.content?.['application/json']
    if (json !== undefined && docs.answers !== undefined) json.examples = docs.answers
  }
}

function codesOf(place: Place, route: RouteFacts, docs: OperationDocs): ErrorCode[] {
  const follow = codesThatFollow({
    ...route,
    hasPathParameters: place.path.includes('{'),
    // Fastify parses the body of a POST before it finds that the route takes none.
    hasBody: place.method === 'post' || place.method === 'patch',
    takesIdempotencyKey: takesIdempotencyKey(place),
  })
  return [...follow, ...(docs.problems ?? [])]
}

function describeOperation(place: Place, docs: OperationDocs): void {
  const { operation } = place
  const route = operation['x-route']
  delete operation['x-route']
  if (route === undefined) throw new Error(`${place.method} ${place.path} was not described`)
  Object.assign(operation, describeAccess(route.access, operation.description))
  if (docs.rawBody !== undefined) operation.requestBody = rawBody(docs.rawBody)
  else describeBody(operation, route.bodyRequired, docs)
  describeSuccess(operation, docs)
  // The first declaration wins: a route may describe an error status of its own.
  Object.assign(operation.responses, {
    ...problemAnswers(codesOf(place, route, docs)),
    ...operation.responses,
  })
  if (!takesIdempotencyKey(place)) return
  operation.parameters = [...(operation.parameters ?? []), refTo('parameters', 'IdempotencyKey')]
}

/** Moves answers that several operations give word for word to the components. */
function shareAnswers(document: ApiDocument): void {
  const problems = operationsOf(document).flatMap(({ operation }) =>
    Object.entries(operation.responses).flatMap(([status, answer]) => {
      const codes = '$ref' in answer ? undefined : answer.content?.['application/problem+json']
      if (codes?.examples === undefined || '$ref' in answer) return []
      return [{ operation, status, answer, codes: Object.keys(codes.examples) }]
    }),
  )
  const nameOf = (codes: string[]) =>
    codes
      .map((code) => code.replaceAll(/(?:^|_)([a-z])/g, (_, a: string) => a.toUpperCase()))
      .join('Or')
  for (const { operation, status, answer, codes } of problems) {
    const uses = problems.filter((other) => other.codes.join() === codes.join()).length
    if (uses < 2) continue
    document.components.responses[nameOf(codes)] = answer
    operation.responses[status] = refTo('responses', nameOf(codes))
  }
}

/** Makes the generated document one that people read. Takes it over and returns the result. */
export function finishDocument(generated: ApiDocument, docs: ApiDocs): ApiDocument {
  const document = spellShort(generated)
  document.components = {
    schemas: {
      ...document.components.schemas,
      Problem: PROBLEM_SCHEMA,
      ProblemField: PROBLEM_FIELD_SCHEMA,
    },
    parameters: { ...SHARED_PARAMETERS },
    headers: SHARED_HEADERS,
    responses: {},
    examples: problemExamples(),
    securitySchemes: SECURITY_SCHEMES,
  }
  for (const place of operationsOf(document)) {
    describeOperation(place, docs[place.operation.operationId] ?? {})
  }
  nameBodies(document)
  shareParameters(document)
  shareAnswers(document)
  return inReadingOrder(oneComponentEach(document))
}

// Names of the security schemes in the document.
const API_KEY = 'apiKey'
const STRIPE_SIGNATURE = 'stripeSignature'

const SECURITY_SCHEMES = {
  [API_KEY]: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An API key: `Authorization: Bearer <key>`. Its role is operator (the platform), staff (one conference, with scopes) or sponsor (one sponsor).',
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
  if (rule === 'operator') return { roles: ['operator'] }
  if (rule === 'staff') return { roles: ['operator', 'staff'] }
  const sponsors = rule.sponsor === true ? ['sponsor'] : []
  return { roles: ['operator', 'staff', ...sponsors], scopes: rule.anyOf }
}

function sentenceOf(rule: AccessRule): string {
  if (rule === 'public') return 'For anyone; no API key is needed.'
  if (rule === 'stripe') return "For Stripe; the signature takes an API key's place."
  if (rule === 'operator') return 'For operators.'
  if (rule === 'staff') return 'For any staff key of the conference, and operators.'
  const scopes = rule.anyOf.map((scope) => `\`${scope}\``).join(' or ')
  const sponsors = rule.sponsor === true ? ', sponsors for what is their own' : ''
  return `For staff with the scope ${scopes}${sponsors}, and operators.`
}

function securityOf(rule: AccessRule): Record<string, string[]>[] {
  if (rule === 'public') return []
  return [{ [rule === 'stripe' ? STRIPE_SIGNATURE : API_KEY]: [] }]
}

/** What a route's access rule says, in the three places where a reader or a tool looks for it. */
function describeAccess(
  rule: AccessRule,
  description: string | undefined,
): Pick<Operation, 'security' | 'description' | 'x-access'> {
  const sentence = sentenceOf(rule)
  return {
    security: securityOf(rule),
    description: description === undefined ? sentence : `${description}\n\n${sentence}`,
    'x-access': accessOf(rule),
  }
}

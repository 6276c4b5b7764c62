import { isDeepStrictEqual } from 'node:util'
import { type ApiDocument, operationsOf, type Parameter, refTo } from './api-document.ts'

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

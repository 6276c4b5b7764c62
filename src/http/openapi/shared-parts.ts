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

/** Parameters that most operations have, by name. */
const COMMON: Record<string, { component: string; description?: string; example?: string }> = {
  conference: {
    component: 'Conference',
    description: 'The slug or the id of the conference.',
    example: 'pycon-2027',
  },
  limit: { component: 'Limit' },
  cursor: { component: 'Cursor' },
}

/** Moves the parameters that nearly every operation has to the components. In place. */
export function shareParameters(document: ApiDocument): void {
  const { parameters: shared } = document.components
  for (const { operation } of operationsOf(document)) {
    if (operation.parameters === undefined) continue
    operation.parameters = operation.parameters.map((parameter) => {
      if ('$ref' in parameter) return parameter
      const common = COMMON[parameter.name]
      if (common === undefined) return parameter
      const { component, ...words } = common
      const whole: Parameter = { ...parameter, ...words }
      shared[component] ??= whole
      return isDeepStrictEqual(shared[component], whole) ? refTo('parameters', component) : whole
    })
  }
}

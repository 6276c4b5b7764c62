import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { inject } from 'vitest'
import {
  type Answer,
  type ApiDocument,
  type JsonSchema,
  type Media,
  type Operation,
  operationsOf,
  type Reference,
} from '../../src/http/openapi/api-document.ts'
import { ERROR_CATALOGUE, type ErrorCode } from '../../src/shared/errors.ts'

export type Exchange = {
  method: string
  /** With or without a query. */
  path: string
  status: number
  headers: Record<string, string | string[] | number | undefined>
  text: string
}

const ID = 'openapi.yaml'
const PROBLEM = 'application/problem+json'

let document: ApiDocument | undefined

/** openapi.yaml as it is checked in. */
export function openapiYaml(): ApiDocument {
  // The file is our own; openapi.test.ts holds it against the routes.
  document ??= JSON.parse(inject('openapiJson')) as ApiDocument
  return document
}

// A validator runs a few times, which does not pay for optimizing it.
const ajv = new Ajv2020({ strict: false, allErrors: true, code: { optimize: false } })
addFormats.default(ajv)
const compiled = new Map<string, ValidateFunction>()

function withDocument(): Ajv2020 {
  if (ajv.getSchema(ID) === undefined) ajv.addSchema(openapiYaml(), ID)
  return ajv
}

function remembered(name: string, schema: JsonSchema): ValidateFunction {
  const validator = compiled.get(name) ?? withDocument().compile(schema)
  compiled.set(name, validator)
  return validator
}

/** A validator for a schema of openapi.yaml, whose references are followed into that file. */
export function validatorFor(schema: JsonSchema): ValidateFunction {
  const text = JSON.stringify(schema).replaceAll('"$ref":"#', `"$ref":"${ID}#`)
  return remembered(text, JSON.parse(text) as JsonSchema)
}

function validatorOf(pointer: string): ValidateFunction {
  return remembered(pointer, { $ref: `${ID}#${pointer}` })
}

const escaped = (name: string) => name.replaceAll('~', '~0').replaceAll('/', '~1')
const pointerTo = (...names: string[]) =>
  names.map((name) => `/${escaped(encodeURI(name))}`).join('')

type KnownRoute = { template: string; parts: string[]; operation: Operation }

// Per method; templates with more fixed parts first.
const routes = new Map<string, KnownRoute[]>()

function routesOf(method: string): KnownRoute[] {
  const known = routes.get(method)
  if (known !== undefined) return known
  const fixed = (parts: string[]) => parts.filter((part) => !part.startsWith('{')).length
  const found = operationsOf(openapiYaml())
    .filter((one) => one.method === method)
    .map(({ path, operation }) => ({ template: path, parts: path.split('/'), operation }))
    .toSorted((a, b) => fixed(b.parts) - fixed(a.parts))
  routes.set(method, found)
  return found
}

/** The operation behind a request; of several templates that fit, the one with most fixed parts. */
function findOperation(method: string, path: string): KnownRoute | undefined {
  const [plain = ''] = path.split('?')
  const asked = plain.replace(/(?<=.)\/$/, '').split('/')
  return routesOf(method.toLowerCase()).find(
    ({ parts }) =>
      parts.length === asked.length &&
      parts.every((part, index) => part.startsWith('{') || part === asked[index]),
  )
}

function locate(template: string, method: string, status: string, found: Answer | Reference) {
  if (!('$ref' in found)) {
    return { answer: found, pointer: pointerTo('paths', template, method, 'responses', status) }
  }
  const name = found.$ref.split('/').at(-1) ?? ''
  const answer = openapiYaml().components.responses[name]
  if (answer === undefined) throw new Error(`${found.$ref} is not in openapi.yaml`)
  return { answer, pointer: pointerTo('components', 'responses', name) }
}

function checkBody(type: string, media: Media, pointer: string, text: string): string | null {
  if (type !== 'application/json' && type !== PROBLEM) return null
  const body: unknown = JSON.parse(text)
  // Most answers share a schema: it is compiled once, not for each operation.
  const shared = '$ref' in media.schema ? String(media.schema['$ref']).slice(1) : undefined
  const validate = validatorOf(shared ?? `${pointer}${pointerTo('content', type, 'schema')}`)
  return validate(body) ? null : ajv.errorsText(validate.errors, { dataVar: 'body' })
}

/** A problem has the status of its code: its schema, which lists codes, cannot say that. */
function checkStatus(type: string, status: number, text: string): string | null {
  if (type !== PROBLEM) return null
  const { code } = JSON.parse(text) as { code: ErrorCode }
  return ERROR_CATALOGUE[code].status === status ? null : `the code ${code} has another status`
}

// What a test adds itself stands on paths that the service does not have.
const OURS = /^\/(v1|webhooks)\//

function checkUnknown(path: string, status: number, text: string): string | null {
  if (!OURS.test(path)) return null
  if (![400, 404, 405].includes(status)) return 'the operation is not there'
  const validate = validatorOf(pointerTo('components', 'schemas', 'Problem'))
  return validate(JSON.parse(text)) ? null : ajv.errorsText(validate.errors, { dataVar: 'body' })
}

function check({ method, path, status, headers, text }: Exchange): string | null {
  if (typeof headers['request-id'] !== 'string') return 'there is no Request-Id'
  const found = findOperation(method, path)
  if (found === undefined) return checkUnknown(path, status, text)
  const { template, operation } = found
  // The default answer is for errors: a success has its own status.
  const key = status < 400 || String(status) in operation.responses ? String(status) : 'default'
  const documented = operation.responses[key]
  if (documented === undefined) return 'this status is not there'
  const { answer, pointer } = locate(template, method.toLowerCase(), key, documented)
  const [type = ''] = String(headers['content-type'] ?? '').split(';')
  if (answer.content === undefined) return text === '' ? null : 'there is no body there'
  const media = answer.content[type]
  return media === undefined
    ? `the type ${type} is not there`
    : (checkBody(type, media, pointer, text) ?? checkStatus(type, status, text))
}

/**
 * Compares what was answered with openapi.yaml: status, media type, body, and the code of a problem.
 * Pages and the document itself (`/docs`) are not in it.
 *
 * @throws Error that says what differs.
 */
export function validateResponse(exchange: Exchange): void {
  if (exchange.path.startsWith('/docs')) return
  const problem = check(exchange)
  if (problem === null) return
  const { method, path, status, text } = exchange
  throw new Error(
    `${method} ${path} answered ${status}, but of openapi.yaml: ${problem}. ` +
      `After a change of a route: npm run openapi; error codes and examples are in src/api-docs.\n` +
      text.slice(0, 2_000),
  )
}

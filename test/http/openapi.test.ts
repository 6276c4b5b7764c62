import { readFileSync } from 'node:fs'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { OBJECT_EXAMPLES, OPERATION_DOCS } from '../../src/api-docs/api-description.ts'
import { buildOpenapi } from '../../src/cli/build-openapi.ts'
import {
  type Answer,
  type ApiDocument,
  type Example,
  type Operation,
  operationsOf,
  type Parameter,
  type Reference,
} from '../../src/http/openapi/api-document.ts'
import { problemCodesOf } from '../../src/http/openapi/shared-components.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { SCOPES } from '../../src/shared/caller.ts'
import { ERROR_CATALOGUE, type ErrorCode } from '../../src/shared/errors.ts'
import { useTestApp } from '../support/test-app.ts'
import { openapiYaml, validatorFor } from '../support/validate-response.ts'

const FILE = new URL('../../openapi.yaml', import.meta.url)
const CODES = Object.keys(ERROR_CATALOGUE) as ErrorCode[]

const document = openapiYaml()
const operations = operationsOf(document)
const text = readFileSync(FILE, 'utf8')

/** Follows a reference of the document. */
function resolve<T extends object>(part: T | Reference): T {
  if (!('$ref' in part)) return part
  const [section = '', name = ''] = part.$ref.split('/').slice(2)
  // The caller knows the type of the section.
  const components = document.components as unknown as Record<string, Record<string, T>>
  const found = components[section]?.[name]
  if (found === undefined) throw new Error(`${part.$ref} points nowhere`)
  return found
}

const answersOf = ({ responses }: Operation): [string, Answer][] =>
  Object.entries(responses).map(([status, answer]) => [status, resolve<Answer>(answer)])

/** The codes that an operation may answer; those of `default` only at statuses without an answer. */
function problemsOf(operation: Operation): { status: string; code: string }[] {
  return answersOf(operation).flatMap(([status, answer]) =>
    problemCodesOf(answer).map((code) => ({ status, code })),
  )
}

const description = (operation: Operation, status: string) =>
  answersOf(operation).find(([one]) => one === status)?.[1].description

const parametersOf = (path: string, { parameters = [] }: Operation): Parameter[] =>
  [...(document.paths[path]?.parameters ?? []), ...parameters].map((parameter) =>
    resolve<Parameter>(parameter),
  )

describe('openapi.yaml', () => {
  it('is up to date with the routes', async () => {
    // Not toBe, which would print a difference of thousands of lines.
    expect((await buildOpenapi()) === text, 'stale: run npm run openapi').toBe(true)
  })

  it('names the service, its version and its address', () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    ) as { version: string }
    expect(document).toMatchObject({
      openapi: '3.1.1',
      info: { title: 'sponsor-vouchers', version, description: expect.stringContaining('curl') },
      servers: [{ url: 'http://127.0.0.1:3000' }],
    })
    // A fact of every response, which validateResponse checks on each one of the tests.
    expect(document.info.description).toContain('every response has the header `Request-Id`')
  })

  it('can be read by PyYAML, which refuses an unquoted question mark inside of braces', () => {
    const inBraces = text.split('\n').filter((line) => /^ *([\w/-]+: )?[{[]/.test(line))
    const unquoted = inBraces.map((line) => line.replaceAll(/"[^"]*"/g, ''))
    expect(unquoted.filter((line) => line.includes('?'))).toEqual([])
  })

  it('is readable: one component for each name, no generated patterns or bounds', () => {
    const doubles = Object.keys(document.components.schemas).filter((name) =>
      name.endsWith('Input'),
    )
    expect(doubles).toEqual([])
    expect(JSON.stringify(document.components)).not.toMatch(/9007199254740991/)
    const patterns = [...text.matchAll(/pattern: (.*)/g)].map(([, pattern]) => pattern ?? '')
    expect(patterns.filter((pattern) => pattern.length > 60)).toEqual([])
    expect(text).not.toMatch(/anyOf:\s+- type: \w+\s+- type: "null"/)
    // Shared parts are components; the file stays small enough to read.
    expect(text.length).toBeLessThan(380_000)
  })

  it('has every error code, and no unknown one', () => {
    expect(document.components.schemas['Problem']).toMatchObject({
      properties: { code: { enum: CODES } },
    })
    const answered = new Set(
      operations.flatMap(({ operation }) => problemsOf(operation)).map((p) => p.code),
    )
    // An operation of the document has a path that supports its method.
    const ofOperations = CODES.filter((code) => code !== 'method_not_allowed')
    expect([...answered].toSorted()).toEqual(ofOperations.toSorted())
  })

  it('has docs only for existing operations and tags', () => {
    const ids = operations.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    expect(Object.keys(OPERATION_DOCS).filter((id) => !ids.includes(id))).toEqual([])
    const used = new Set(operations.flatMap(({ operation }) => operation.tags))
    expect(document.tags.map(({ name }) => name).toSorted()).toEqual([...used].toSorted())
    expect(document.tags.every(({ description }) => description.length > 20)).toBe(true)
  })

  it('has request and answer examples for the main operations', () => {
    const main = ['createPurchase', 'checkoutPurchase', 'refundPurchase', 'redeemVoucher']
    for (const id of main) {
      expect(OPERATION_DOCS[id], id).toMatchObject({ requests: {} })
    }
    for (const kind of ['Purchase', 'Checkout', 'Voucher', 'Redemption']) {
      expect(document.components.schemas[kind], kind).toMatchObject({ examples: [{}] })
    }
  })
})

describe('every operation', () => {
  const isWrite = (method: string) => ['post', 'patch'].includes(method)

  it('has an id, a summary, a tag and its callers', () => {
    for (const { operation } of operations) {
      const { operationId: id, summary, tags, 'x-access': access } = operation
      expect(id).toMatch(/^[a-z][A-Za-z]+$/)
      expect(summary.length, id).toBeGreaterThan(5)
      expect(tags, id).toHaveLength(1)
      expect(access, id).toMatchObject({ roles: expect.arrayContaining([expect.any(String)]) })
    }
  })

  it('requires the key of its access rule, or a session', () => {
    const schemes: Record<string, object[]> = {
      anyone: [],
      stripe: [{ stripeSignature: [] }],
      operator: [{ apiKey: [] }, { session: [] }],
    }
    for (const { operation } of operations) {
      const id = operation.operationId
      const access = operation['x-access'] as { roles: [string]; scopes?: string[] }
      expect(operation.security ?? document.security, id).toEqual(schemes[access.roles[0]])
      expect(SCOPES, id).toEqual(expect.arrayContaining(access.scopes ?? []))
    }
  })

  it('describes the parameters of its path, and the idempotency key of a write', () => {
    for (const { path, method, operation } of operations) {
      const parameters = parametersOf(path, operation)
      const inPath = parameters.filter((parameter) => parameter.in === 'path')
      const declared = new Set(inPath.map(({ name }) => name))
      const named = new Set([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name))
      expect(declared, path).toEqual(named)
      for (const { description } of inPath) expect(description, path).toEqual(expect.any(String))
      const hasKey = parameters.some(({ name }) => name === 'Idempotency-Key')
      const isPublic = operation.security?.length === 0
      const takesKey = path.startsWith('/v1/') && isWrite(method) && !isPublic
      expect(hasKey, `${method} ${path}`).toBe(takesKey)
    }
  })

  it('has a success answer', () => {
    for (const { operation } of operations) {
      const statuses = answersOf(operation).map(([status]) => status)
      expect(
        statuses.some((status) => status.startsWith('2')),
        operation.operationId,
      ).toBe(true)
    }
  })

  it('has the problems that follow from its path, method and access', () => {
    const ofKeys = ['validation_failed', 'unauthenticated', 'forbidden', 'rate_limited']
    const ofWork = ['not_ready', 'database_unavailable']
    const ofBodies = ['malformed_json', 'payload_too_large', 'unsupported_media_type']
    const ofRepeats = ['idempotency_in_progress', 'idempotency_key_reused']
    for (const { path, method, operation } of operations) {
      const isApi = path.startsWith('/v1/') && operation.security?.length !== 0
      const expected = [
        'malformed_http',
        'request_header_too_large',
        'internal',
        ...(path.includes('{') ? ['not_found'] : []),
        ...(isApi ? [...ofKeys, ...ofWork] : []),
        ...(isApi && (isWrite(method) || method === 'put') ? ofBodies : []),
        ...(isApi && isWrite(method) ? ofRepeats : []),
      ]
      const codes = problemsOf(operation).map(({ code }) => code)
      expect(codes, `${method} ${path}`).toEqual(expect.arrayContaining(expected))
    }
  })

  it('answers each error code under the status of the catalogue', () => {
    for (const { operation } of operations) {
      for (const { status, code } of problemsOf(operation)) {
        const id = `${operation.operationId} ${code}`
        const { status: known } = ERROR_CATALOGUE[code as ErrorCode]
        const shown = status === 'default' ? description(operation, status) : status
        expect(shown, id).toContain(String(known))
      }
      // A status of its own replaces the default: it has the default's codes of this status too.
      const codes = problemsOf(operation)
      const ofDefault = codes.filter(({ status }) => status === 'default').map(({ code }) => code)
      for (const [status] of answersOf(operation).filter(([one]) => Number(one) >= 400)) {
        const replaced = ofDefault.filter(
          (code) => ERROR_CATALOGUE[code as ErrorCode].status === Number(status),
        )
        const own = codes.filter((one) => one.status === status).map(({ code }) => code)
        expect(own, operation.operationId).toEqual(expect.arrayContaining(replaced))
      }
    }
  })

  it('has only examples that match its schemas', () => {
    for (const { operation } of operations) {
      const media = [
        ...Object.values(operation.requestBody?.content ?? {}),
        ...answersOf(operation).flatMap(([, { content = {} }]) => Object.values(content)),
      ]
      for (const { schema, example, examples = {} } of media) {
        const validate = validatorFor(schema)
        const values = Object.values(examples).map((one) => resolve<Example>(one).value)
        for (const value of example === undefined ? values : [example]) {
          validate(value)
          expect(validate.errors, `${operation.operationId} ${JSON.stringify(value)}`).toBeNull()
        }
      }
    }
    for (const [name, example] of Object.entries(OBJECT_EXAMPLES)) {
      const validate = validatorFor({ $ref: `#/components/schemas/${name}` })
      validate(example)
      expect(validate.errors, name).toBeNull()
    }
  })
})

describe('the service', () => {
  const app = useTestApp({ env: { PUBLIC_URL: 'https://vouchers.example' } })

  it('serves the document as JSON, with its own address', async () => {
    const { status, body } = await app.request('GET', '/openapi.json', { as: null })
    expect(status).toBe(200)
    expect(body).toEqual({
      ...document,
      servers: [{ ...document.servers[0], url: 'https://vouchers.example' }],
    })
  })

  it.each([
    ['br', brotliDecompressSync],
    ['gzip', gunzipSync],
  ])(
    'compresses the document with %s, and answers 304 while it is unchanged',
    async (encoding, decode) => {
      const headers = { 'accept-encoding': encoding }
      const answer = await app.app.inject({ url: '/openapi.json', headers })
      expect(answer.headers).toMatchObject({
        'content-encoding': encoding,
        vary: /accept-encoding/,
      })
      const plain = await app.app.inject({ url: '/openapi.json' })
      expect(plain.headers['content-encoding']).toBeUndefined()
      expect(decode(answer.rawPayload).equals(plain.rawPayload)).toBe(true)
      expect(answer.rawPayload.length).toBeLessThan(plain.rawPayload.length / 5)
      const known = { ...headers, 'if-none-match': String(answer.headers.etag) }
      const again = await app.app.inject({ url: '/openapi.json', headers: known })
      expect(again).toMatchObject({ statusCode: 304, payload: '' })
      const refused = { 'accept-encoding': 'br;q=0, identity' }
      const identity = await app.app.inject({ url: '/openapi.json', headers: refused })
      expect(identity.headers['content-encoding']).toBeUndefined()
    },
  )

  it('serves sponsors the operations of their keys, with the components that these use', async () => {
    const { body } = await app.request<ApiDocument>('GET', '/openapi.json?audience=sponsor', {
      as: null,
    })
    const mine = operations.filter(({ operation }) =>
      (operation['x-access'] as { roles: string[] }).roles.includes('sponsor'),
    )
    expect(mine.length).toBeGreaterThan(20)
    expect(operationsOf(body)).toEqual(mine)
    const parametersOfPaths = ({ paths }: ApiDocument) =>
      mine.map(({ path }) => paths[path]?.parameters)
    expect(parametersOfPaths(body)).toEqual(parametersOfPaths(document))
    const referredTo = (part: unknown) =>
      new Set(
        [...JSON.stringify(part).matchAll(/#\/components\/(\w+\/\w+)/g)].map(([, one]) => one),
      )
    const { securitySchemes, ...components } = body.components
    const there = Object.entries(components).flatMap(([section, parts]) =>
      Object.keys(parts).map((name) => `${section}/${name}`),
    )
    expect(new Set(there)).toEqual(referredTo(body))
    expect(Object.keys(securitySchemes)).toEqual(['apiKey', 'session'])
    const unknown = await app.request('GET', '/openapi.json?audience=nobody', { as: null })
    expect(unknown).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
  })

  it('has no undocumented route', () => {
    const documented = new Set(
      operations.flatMap(({ path, method }) =>
        pathsOf(path).map((one) => `${method.toUpperCase()} ${one}`),
      ),
    )
    const quiet = registeredRoutes(app.app.printRoutes({ commonPrefix: false })).filter(
      (route) => !documented.has(route) && !/^\w+ \/docs([*/]|$)/.test(route) && !isPage(route),
    )
    expect(quiet).toEqual([])
  })

  it('keeps the strict policy on every other page', async () => {
    const { headers } = await app.request('GET', '/openapi.json', { as: null })
    expect(headers['content-security-policy']).toContain("default-src 'none'")
  })
})

const isPage = (route: string) => /^GET \/($|portal|console|sign-in$|assets)/.test(route)

/** The paths that a template is for: `stripe/{resource}` has a route for each resource. */
const pathsOf = (template: string) =>
  template.includes('{resource}')
    ? ALL_RESOURCES.map(({ name }) => template.replace('{resource}', name))
    : [template]

/** `METHOD /path/{parameter}` of every route but HEAD's, from fastify's printed tree. */
function registeredRoutes(tree: string): string[] {
  const parts: string[] = []
  return tree.split('\n').flatMap((line) => {
    const [, indent = '', part = '', methods] =
      /^([│ ]*)[├└]── (\S+?)(?: \((.+)\))?$/.exec(line) ?? []
    if (part === '') return []
    parts.splice(indent.length / 4, parts.length, part)
    const path = parts.join('').replaceAll(/:(\w+)/g, '{$1}')
    return (methods?.split(', ') ?? [])
      .filter((method) => method !== 'HEAD')
      .map((method) => `${method} ${path}`)
  })
}

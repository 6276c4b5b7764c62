import { beforeAll, describe, expect, it } from 'vitest'
import {
  type JsonSchema,
  operationsOf,
  type Parameter,
  type Reference,
} from '../../src/http/openapi/api-document.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { createConference } from '../support/fixtures.ts'
import { type Body, type Method, useTestApp } from '../support/test-app.ts'
import { openapiYaml } from '../support/validate-response.ts'

const document = openapiYaml()

/** A value that a request may carry: a parameter, or a member of a body at any depth. */
type Place = {
  operationId: string
  method: Method
  path: string
  in: Parameter['in'] | 'body'
  /** The names from the parameter or the body down to the value; `0`: an item, `*`: any member. */
  names: string[]
  schema: JsonSchema
}

function resolve<T extends object>(part: T | Reference): T {
  if (!('$ref' in part) || typeof part.$ref !== 'string') return part as T
  const [section = '', name = ''] = part.$ref.split('/').slice(2)
  // The caller knows the type of the section.
  const components = document.components as unknown as Record<string, Record<string, T>>
  const found = components[section]?.[name]
  if (found === undefined) throw new Error(`${part.$ref} points nowhere`)
  return found
}

const asSchema = (part: unknown) => (part ?? {}) as JsonSchema
const asList = (value: unknown) => (Array.isArray(value) ? (value as JsonSchema[]) : [])

/** The place itself and all places below it. */
function placesBelow(place: Place): Place[] {
  const schema = resolve(place.schema)
  const below = (name: string, part: unknown) =>
    typeof part === 'object' && part !== null
      ? placesBelow({ ...place, names: [...place.names, name], schema: part as JsonSchema })
      : []
  const variants = ['allOf', 'anyOf', 'oneOf'].flatMap((word) => asList(schema[word]))
  return [
    { ...place, schema },
    ...variants
      .filter((variant) => '$ref' in variant || 'type' in variant || 'properties' in variant)
      .flatMap((variant) => placesBelow({ ...place, schema: variant })),
    ...Object.entries(schema['properties'] ?? {}).flatMap(([name, part]) => below(name, part)),
    ...below('0', schema['items']),
    ...below('*', schema['additionalProperties']),
  ]
}

/** Operations that take a file. Its size is limited, not its text. */
const FILES = new Set(
  operationsOf(document)
    .filter(({ operation }) => operation.requestBody?.content['text/csv'] !== undefined)
    .map(({ operation }) => operation.operationId),
)

const PLACES = operationsOf(document).flatMap(({ path, method, operation }): Place[] => {
  const { operationId, requestBody } = operation
  const place = { operationId, path, method: method.toUpperCase() as Method }
  const parameters = [
    ...(document.paths[path]?.parameters ?? []),
    ...(operation.parameters ?? []),
  ].map((parameter) => resolve<Parameter>(parameter))
  const bodies = Object.values(requestBody?.content ?? {})
  return [
    ...parameters.map((one) => ({ ...place, in: one.in, names: [one.name], schema: one.schema })),
    ...bodies.map((one) => ({ ...place, in: 'body' as const, names: [], schema: one.schema })),
  ].flatMap(placesBelow)
})

const nameOf = ({ operationId, names, ...place }: Place) =>
  `${operationId} ${place.in} ${names.join('/')}`

const has = (schema: JsonSchema, ...words: string[]) => words.some((word) => word in schema)

/** The limits that the schema of a value lacks. */
function missingLimits({ schema }: Place): string[] {
  const types = [schema['type'] ?? []].flat()
  const isListed = has(schema, 'enum', 'const')
  const isNumber = types.includes('integer') || types.includes('number')
  const isMap = typeof schema['additionalProperties'] === 'object'
  const rules: [boolean, string[]][] = [
    [types.includes('string') && !isListed, ['maxLength']],
    [isNumber && !isListed, ['minimum', 'exclusiveMinimum']],
    [isNumber && !isListed, ['maximum', 'exclusiveMaximum']],
    [types.includes('array'), ['maxItems']],
    [isMap, ['maxProperties']],
    [isMap, ['propertyNames']],
    // A body of fixed members refuses others. Stripe's webhooks are checked by their signature.
    [types.includes('object') && 'properties' in schema, ['additionalProperties']],
  ]
  return rules.flatMap(([applies, words]) =>
    applies && !has(schema, ...words) ? [words.join(' or ')] : [],
  )
}

describe('every value that a request may carry', () => {
  // A new one without a limit: give its zod schema one (`id`, `stripeId`, `sponsorKey`, `.max()`).
  it('has a limit in the document', () => {
    expect(PLACES.length).toBeGreaterThan(400)
    const unlimited = PLACES.flatMap((place) =>
      missingLimits(place).map((limit) => `${nameOf(place)} has no ${limit}`),
    )
    expect(unlimited).toEqual([])
  })
})

/** Valid items and members where these have rules of their own, by the name of the array or map. */
const VALID: Record<string, unknown> = {
  allowed_origins: 'https://example.org',
  tax_rates: 'txr_1',
  items: { plan: 'plan_1' },
  currency_options: { amount_off: 1 },
}

/** Values beyond a limit of the schema; none for a boolean or an object with fixed members. */
function valuesBeyond({ schema, names }: Place): unknown[] {
  const limit = (word: string) => (typeof schema[word] === 'number' ? [schema[word]] : [])
  const valid = VALID[names.at(-1) ?? '']
  const item = () => {
    const { enum: [first] = [] } = resolve(asSchema(schema['items'])) as { enum?: unknown[] }
    return valid ?? first ?? 'x'
  }
  const entries = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, valid ?? 'x']))
  return [
    ...(Array.isArray(schema['enum']) ? ['no-such-value'] : []),
    ...limit('maxLength').map((most) => 'x'.repeat(most + 1)),
    ...limit('minimum').map((least) => least - 1),
    ...limit('exclusiveMinimum'),
    ...limit('maximum').map((most) => most + 1),
    ...limit('maxItems').map((most) => Array.from({ length: most + 1 }, item)),
    ...limit('maxProperties').map((most) => entries(most + 1)),
    ...('propertyNames' in schema ? [{ ['k'.repeat(41)]: valid ?? 'x' }] : []),
  ]
}

/** A resource of which this is a filter. */
const resourceWith = (filter: string) =>
  ALL_RESOURCES.find(({ columns }) => filter in columns)?.name ?? 'coupons'

describe('a value beyond its limit', () => {
  const app = useTestApp()
  let conference = { slug: '' }
  beforeAll(async () => {
    conference = await createConference(app)
  })

  /** The rules that the service names for this value. */
  async function rulesFor(place: Place, value: unknown): Promise<string[]> {
    const [first = ''] = place.names
    const parameters: Record<string, string> = {
      conference: conference.slug,
      resource: resourceWith(first),
      ...(place.in === 'path' ? { [first]: String(value) } : {}),
    }
    const path = place.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => parameters[name] ?? 'x')
    const query =
      place.in === 'query' ? `?${new URLSearchParams([[first, String(value)]]).toString()}` : ''
    const hasBody = place.method !== 'GET' && place.method !== 'DELETE'
    const names = place.names.map((name) => (name === '*' ? 'k' : name))
    const body = names.reduceRight<unknown>(
      (inner, name) => (name === '0' ? [inner] : { [name]: inner }),
      place.in === 'body' ? value : {},
    )
    const isFile = FILES.has(place.operationId)
    const sent = isFile ? 'email\nada@example.org\n' : place.in === 'body' ? body : {}
    const answer = await app.request<Body>(place.method, path + query, {
      headers: {
        ...(place.in === 'header' ? { [first]: String(value) } : {}),
        ...(isFile ? { 'content-type': 'text/csv' } : {}),
      },
      ...(hasBody ? { body: sent } : {}),
    })
    const prefix = { body: '', query: 'query', path: 'params', header: 'header' }[place.in]
    const pointer = `${prefix}/${names.join('/')}`.toLowerCase()
    const { errors = [] } = answer.body as { errors?: { pointer: string; detail: string }[] }
    return errors
      .filter((error) => `${error.pointer}/`.toLowerCase().startsWith(`${pointer}/`))
      .map(({ detail }) => detail)
  }

  // An unknown conference or resource is 404. An Idempotency-Key is checked after the body.
  const isChecked = (place: Place) =>
    place.in === 'header'
      ? place.operationId === 'cancelPurchase'
      : !(place.in === 'body' && FILES.has(place.operationId)) &&
        (place.in !== 'path' || !/^(conference|resource)$/.test(place.names[0] ?? ''))

  it('is refused, and the answer names the field and the rule', async () => {
    const silent: string[] = []
    // One operation for all that have the same member: they share its schema.
    const distinct = new Map(
      PLACES.filter(isChecked).map((place) => [
        JSON.stringify([place.in, place.names, place.schema]),
        place,
      ]),
    )
    for (const place of distinct.values()) {
      for (const value of valuesBeyond(place)) {
        const rules = await rulesFor(place, value)
        const named = rules.length > 0 && !rules.includes('is not valid')
        if (!named)
          silent.push(`${nameOf(place)}: ${JSON.stringify(value).slice(0, 40)} ${rules.join()}`)
      }
    }
    expect(silent).toEqual([])
  })
})

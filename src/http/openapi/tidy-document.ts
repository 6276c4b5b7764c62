import type { z } from 'zod'
import {
  type ApiDocument,
  type JsonSchema,
  type Operation,
  operationsOf,
  type Parameter,
  type Reference,
  refTo,
} from './api-document.ts'

// For these formats zod adds a regular expression of up to 250 characters.
const FORMATS_THAT_SAY_IT = ['date-time', 'date', 'email', 'uri']

/**
 * zod's `override`: removes generated noise from a schema. The schema of an answer allows additional
 * members, so that a new member does not break a client that validates.
 */
export function simplify(context: { zodSchema: z.core.$ZodTypes; jsonSchema: JsonSchema }): void {
  const { jsonSchema: schema, zodSchema } = context
  if (FORMATS_THAT_SAY_IT.includes(String(schema['format']))) delete schema['pattern']
  const { def } = zodSchema._zod
  if (def.type === 'number') {
    // zod gives these bounds to an integer without bounds of its own.
    const { MIN_SAFE_INTEGER: least, MAX_SAFE_INTEGER: most } = Number
    const rules = def.checks?.map(({ _zod: check }) => check.def.check) ?? []
    if (schema['minimum'] === least && !rules.includes('greater_than')) delete schema['minimum']
    if (schema['maximum'] === most && !rules.includes('less_than')) delete schema['maximum']
  }
  // The keys of a JSON object are always strings; only a rule for them says more.
  const keys = schema['propertyNames']
  if (JSON.stringify(keys) === '{"type":"string"}') delete schema['propertyNames']
  // A union with a discriminator has members that exclude each other.
  if (schema['discriminator'] !== undefined && schema['anyOf'] !== undefined) {
    schema['oneOf'] = schema['anyOf']
    delete schema['anyOf']
  }
  if (def.type === 'object' && def.catchall === undefined) delete schema['additionalProperties']
}

/** Turns `{ anyOf: [X, null] }` with a simple X into `{ ...X, type: [X, null] }`. */
function withPlainNull(schema: JsonSchema): JsonSchema {
  const { anyOf, ...rest } = schema
  if (!Array.isArray(anyOf) || anyOf.length !== 2) return schema
  const [value, empty] = anyOf as JsonSchema[]
  if (empty?.['type'] !== 'null' || typeof value?.['type'] !== 'string') return schema
  const enumeration = value['enum']
  return {
    ...value,
    ...rest,
    type: [value['type'], 'null'],
    ...(Array.isArray(enumeration) ? { enum: [...enumeration, null] } : {}),
  }
}

/** Puts `type` first. A property with the name `type` is not a type. */
function typeFirst({ type, ...rest }: JsonSchema): JsonSchema {
  if (type === undefined) return rest
  return typeof type === 'string' || Array.isArray(type) ? { type, ...rest } : { ...rest, type }
}

/** A copy with all schemas below `part` in the short form. */
export function spellShort<T>(part: T): T {
  // The type is kept: only schemas are replaced by schemas.
  if (Array.isArray(part)) return part.map(spellShort) as T
  if (typeof part !== 'object' || part === null) return part
  const members = Object.entries(part).map(([name, value]) => [name, spellShort(value)])
  return typeFirst(withPlainNull(Object.fromEntries(members) as JsonSchema)) as T
}

const REFERENCE = /"\$ref":"#\/components\/schemas\/([^"]+)"/g

function referencesIn(part: unknown): string[] {
  return [...(JSON.stringify(part) ?? '').matchAll(REFERENCE)].map(([, name]) => name ?? '')
}

/** Names of the schemas that the operations use, directly or indirectly. */
function reachable({ paths, components }: ApiDocument): Set<string> {
  const seen = new Set<string>()
  const open = referencesIn([paths, components.responses])
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue
    seen.add(name)
    open.push(...referencesIn(components.schemas[name]))
  }
  return seen
}

function renameReferences<T>(part: T, nameOf: (name: string) => string): T {
  const text = JSON.stringify(part).replaceAll(
    REFERENCE,
    (_, name: string) => `"$ref":"#/components/schemas/${nameOf(name)}"`,
  )
  // Only the texts of references change, so the type does not.
  return JSON.parse(text) as T
}

const plain = (name: string) => name.replace(/Input$/, '')

/**
 * The generator writes each named schema twice: `X` for answers and `XInput` for requests. Keeps one
 * `X` if only one of them is used or both are equal, and removes unused schemas.
 */
export function oneComponentEach(document: ApiDocument): ApiDocument {
  const { schemas } = document.components
  const used = reachable(document)
  const say = (name: string) => JSON.stringify(renameReferences(schemas[name] ?? {}, plain))
  const nameOf = (name: string) => {
    const base = plain(name)
    return !used.has(base) || say(name) === say(base) ? base : name
  }
  const kept = new Map<string, JsonSchema>()
  for (const name of [...used].toSorted()) kept.set(nameOf(name), schemas[name] ?? {})
  const components = { ...document.components, schemas: Object.fromEntries(kept) }
  return renameReferences({ ...document, components }, nameOf)
}

/** What the pages of all lists have in common. */
const PAGE: JsonSchema = {
  type: 'object',
  properties: { has_more: { type: 'boolean' }, next_cursor: { type: ['string', 'null'] } },
  required: ['has_more', 'next_cursor'],
}

// One of these may be a part of other schemas, which then refer to it with `allOf`.
const SHARED_PARTS = [
  'Page',
  'PurchaseReportTotals',
  'VoucherReportTotals',
  'SetVoucherConfig',
  'UpdateCatalogItem',
]

type ObjectSchema = JsonSchema & { properties: Record<string, JsonSchema>; required?: string[] }

function isObject(schema: JsonSchema | undefined): schema is ObjectSchema {
  return schema?.['type'] === 'object' && typeof schema['properties'] === 'object'
}

/** Whether every object that fits `whole` also fits `part`, by their members. */
function contains(whole: ObjectSchema, part: ObjectSchema): boolean {
  const names = Object.keys(part.properties)
  // A schema that allows no other members cannot be a part of one that has some.
  const isClosed = part['additionalProperties'] === false
  if (whole['additionalProperties'] !== part['additionalProperties']) return false
  if (isClosed && names.length !== Object.keys(whole.properties).length) return false
  return (
    names.every(
      (name) => JSON.stringify(whole.properties[name]) === JSON.stringify(part.properties[name]),
    ) && (part.required ?? []).every((name) => whole.required?.includes(name))
  )
}

/** The schema as `allOf` the part, with only the members and rules that the part does not have. */
function extending(part: JsonSchema, inherited: ObjectSchema | null, whole: ObjectSchema) {
  const { type: _type, properties, required = [], additionalProperties: _others, ...rest } = whole
  const own = Object.entries(properties).filter(
    ([name]) => !(name in (inherited?.properties ?? {})),
  )
  const ownRequired = required.filter((name) => inherited?.required?.includes(name) !== true)
  return {
    ...rest,
    allOf: [part],
    ...(own.length > 0 ? { properties: Object.fromEntries(own) } : {}),
    ...(ownRequired.length > 0 ? { required: ownRequired } : {}),
  }
}

/** Refers to the parts that schemas have in common instead of repeating their members. In place. */
export function shareParts(document: ApiDocument): void {
  const schemas: ApiDocument['components']['schemas'] = {
    ...document.components.schemas,
    Page: PAGE,
  }
  const parts = SHARED_PARTS.map((name) => ({ name, part: schemas[name] }))
  for (const [name, schema] of Object.entries(schemas)) {
    const [base, own] = (schema['allOf'] ?? []) as JsonSchema[]
    if (base !== undefined && '$ref' in base && isObject(own)) {
      // The form of zod's intersections.
      const { allOf: _, ...rest } = schema
      schemas[name] = { ...extending(base, null, own), ...rest }
    } else if (isObject(schema)) {
      const found = parts.find(
        ({ part }) => part !== schema && isObject(part) && contains(schema, part),
      )
      if (!isObject(found?.part)) continue
      schemas[name] = extending(refTo('schemas', found.name), found.part, schema)
    }
  }
  document.components.schemas = Object.fromEntries(
    Object.entries(schemas).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  )
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/** The schema of `emptyBody`. */
const EMPTY_BODY = 'EmptyBody'

/**
 * Names each unnamed body after its operation: `createPurchase` takes a `CreatePurchase`. In place.
 *
 * @throws Error if another schema has that name.
 */
export function nameBodies(document: ApiDocument): void {
  for (const { operation } of operationsOf(document)) {
    const media = operation.requestBody?.content['application/json']
    const members = media?.schema['properties']
    if (media === undefined || typeof members !== 'object' || members === null) continue
    const isEmpty = Object.keys(members).length === 0
    const name = isEmpty ? EMPTY_BODY : capital(operation.operationId)
    const { schemas } = document.components
    if (!isEmpty && name in schemas) throw new Error(`Two schemas are called ${name}`)
    schemas[name] = media.schema
    media.schema = refTo('schemas', name)
  }
}

const DOCUMENT = ['openapi', 'info', 'servers', 'tags', 'security', 'paths', 'components']
const OPERATION = [
  'operationId',
  'summary',
  'description',
  'tags',
  'security',
  'x-access',
  'parameters',
  'requestBody',
  'responses',
]
const PARAMETER = ['name', 'in', 'required', 'description', 'schema', 'example']
const PLACES = ['path', 'query', 'header']

/** A copy with these members first, in this order. */
function ordered<T extends object>(part: T, names: readonly string[]): T {
  const rank = (name: string) => (names.indexOf(name) + names.length + 1) % (names.length + 1)
  const entries = Object.entries(part).toSorted(([a], [b]) => rank(a) - rank(b))
  // The same members as before.
  return Object.fromEntries(entries) as T
}

/** Paths in the order of the tags; within a tag, in the order of the routes. */
function byChapter({ paths, tags }: ApiDocument): ApiDocument['paths'] {
  const chapters = new Map(
    operationsOf({ paths }).map(({ path, operation }) => [
      path,
      tags.findIndex(({ name }) => operation.tags.includes(name)),
    ]),
  )
  const chapter = (path: string) => chapters.get(path) ?? 0
  return Object.fromEntries(Object.entries(paths).toSorted(([a], [b]) => chapter(a) - chapter(b)))
}

/** Puts the members of the document, its operations and parameters into reading order. */
export function inReadingOrder(document: ApiDocument): ApiDocument {
  const { parameters } = document.components
  const placeOf = (parameter: Parameter | Reference) => {
    const whole =
      '$ref' in parameter ? parameters[parameter.$ref.split('/').at(-1) ?? ''] : parameter
    return PLACES.indexOf(whole?.in ?? '')
  }
  for (const [name, parameter] of Object.entries(parameters)) {
    parameters[name] = ordered(parameter, PARAMETER)
  }
  const inOrder = (list: NonNullable<Operation['parameters']>) =>
    list
      .map((parameter) => ordered(parameter, PARAMETER))
      .toSorted((a, b) => placeOf(a) - placeOf(b))
  for (const { path, method, operation } of operationsOf(document)) {
    if (operation.parameters !== undefined) operation.parameters = inOrder(operation.parameters)
    Object.assign(document.paths[path] ?? {}, { [method]: ordered(operation, OPERATION) })
  }
  for (const [path, item] of Object.entries(document.paths)) {
    if (item.parameters !== undefined) item.parameters = inOrder(item.parameters)
    document.paths[path] = ordered(item, ['parameters'])
  }
  return ordered({ ...document, paths: byChapter(document) }, DOCUMENT)
}

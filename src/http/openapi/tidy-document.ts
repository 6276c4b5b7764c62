import type { z } from 'zod'
import {
  type ApiDocument,
  type JsonSchema,
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
  if (schema['minimum'] === Number.MIN_SAFE_INTEGER) delete schema['minimum']
  if (schema['maximum'] === Number.MAX_SAFE_INTEGER) delete schema['maximum']
  // The keys of a JSON object are always strings; only a rule for them says more.
  const keys = schema['propertyNames']
  if (JSON.stringify(keys) === '{"type":"string"}') delete schema['propertyNames']
  // A union with a discriminator has members that exclude each other.
  if (schema['discriminator'] !== undefined && schema['anyOf'] !== undefined) {
    schema['oneOf'] = schema['anyOf']
    delete schema['anyOf']
  }
  const { def } = zodSchema._zod
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

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/**
 * Names each unnamed body after its operation: `createPurchase` takes a `CreatePurchase`. In place.
 *
 * @throws Error if another schema has that name.
 */
export function nameBodies(document: ApiDocument): void {
  for (const { operation } of operationsOf(document)) {
    const media = operation.requestBody?.content['application/json']
    const members = media?.schema['properties'] ?? {}
    if (media === undefined || Object.keys(members).length === 0) continue
    const name = capital(operation.operationId)
    if (name in document.components.schemas) throw new Error(`Two schemas are called ${name}`)
    document.components.schemas[name] = media.schema
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
  const chapter = (path: string) => {
    const [first] = Object.values(paths[path] ?? {})
    return tags.findIndex(({ name }) => first?.tags.includes(name))
  }
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
  for (const { path, method, operation } of operationsOf(document)) {
    if (operation.parameters !== undefined) {
      operation.parameters = operation.parameters
        .map((parameter) => ordered(parameter, PARAMETER))
        .toSorted((a, b) => placeOf(a) - placeOf(b))
    }
    Object.assign(document.paths[path] ?? {}, { [method]: ordered(operation, OPERATION) })
  }
  return ordered({ ...document, paths: byChapter(document) }, DOCUMENT)
}

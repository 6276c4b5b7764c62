import { isDeepStrictEqual } from 'node:util'
import { type ApiDocument, type JsonSchema, operationsOf, refTo } from './api-document.ts'

const PREFIX = '#/components/schemas/'

function visitRefs(part: unknown, visit: (holder: { $ref: string }, name: string) => void): void {
  if (typeof part !== 'object' || part === null) return
  if ('$ref' in part && typeof part.$ref === 'string' && part.$ref.startsWith(PREFIX)) {
    visit({ ...part, $ref: part.$ref }, part.$ref.slice(PREFIX.length))
  }
  for (const value of Object.values(part)) visitRefs(value, visit)
}

/** Names of the components that the operations reach, directly or through others. */
function reachable({ paths, components }: ApiDocument): Set<string> {
  const seen = new Set<string>()
  const open: unknown[] = [paths, components.responses]
  for (let part = open.pop(); part !== undefined; part = open.pop()) {
    visitRefs(part, (_holder, name) => {
      if (seen.has(name)) return
      seen.add(name)
      open.push(components.schemas[name])
    })
  }
  return seen
}

function renamed<T>(part: T, names: ReadonlyMap<string, string>): T {
  // Only the texts of references change, so the type does not.
  return JSON.parse(JSON.stringify(part), (key, value: unknown) => {
    if (key !== '$ref' || typeof value !== 'string' || !value.startsWith(PREFIX)) return value
    const name = value.slice(PREFIX.length)
    return `${PREFIX}${names.get(name) ?? name}`
  }) as T
}

/**
 * The generator writes each named schema twice: `X` as it is answered and `XInput` as it is sent.
 * Keeps one `X` where only one of them is used or both say the same, and drops what is not used.
 */
export function oneComponentEach(document: ApiDocument): ApiDocument {
  const used = reachable(document)
  const { schemas } = document.components
  const plain = (name: string) => name.replace(/Input$/, '')
  const names = new Map<string, string>()
  for (const name of used) {
    const base = plain(name)
    if (name === base || !(base in schemas)) continue
    const say = (part: JsonSchema | undefined) => JSON.stringify(part).replaceAll(/Input"/g, '"')
    const same = isDeepStrictEqual(say(schemas[name]), say(schemas[base]))
    if (!used.has(base) || same) names.set(name, base)
  }
  const kept = [...used]
    .filter((name) => !(names.has(name) && used.has(plain(name))))
    .map((name): [string, JsonSchema] => [names.get(name) ?? name, schemas[name] ?? {}])
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return renamed(
    { ...document, components: { ...document.components, schemas: Object.fromEntries(kept) } },
    names,
  )
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)

/** Gives a body without a name its operation's: `createPurchase` takes a `CreatePurchase`. */
export function nameBodies(document: ApiDocument): void {
  for (const { operation } of operationsOf(document)) {
    const media = operation.requestBody?.content['application/json']
    if (media === undefined || '$ref' in media.schema) continue
    if (Object.keys((media.schema['properties'] ?? {}) as object).length === 0) continue
    const name = capital(operation.operationId)
    if (name in document.components.schemas) throw new Error(`Two schemas are called ${name}`)
    document.components.schemas[name] = media.schema
    media.schema = refTo('schemas', name)
  }
}

import { type ApiDocument, type JsonSchema, operationsOf, refTo } from './api-document.ts'

const REFERENCE = /"\$ref":"#\/components\/schemas\/([^"]+)"/g

function referencesIn(part: unknown): string[] {
  return [...(JSON.stringify(part) ?? '').matchAll(REFERENCE)].map(([, name]) => name ?? '')
}

/** Names of the components that the operations reach, directly or through others. */
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
 * The generator writes each named schema twice: `X` as it is answered and `XInput` as it is sent.
 * Keeps one `X` where only one of them is used or both say the same, and drops what is not used.
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
 * Gives a body without a name its operation's: `createPurchase` takes a `CreatePurchase`. In place.
 *
 * @throws Error when another schema has that name already.
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

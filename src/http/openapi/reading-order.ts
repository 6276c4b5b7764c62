import { type ApiDocument, operationsOf, type Parameter, type Reference } from './api-document.ts'

const DOCUMENT = ['openapi', 'info', 'servers', 'tags', 'paths', 'components']
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

/** A copy with the named members first, in this order. */
function ordered<T extends object>(part: T, names: readonly string[]): T {
  const rank = (name: string) => (names.indexOf(name) + names.length + 1) % (names.length + 1)
  const entries = Object.entries(part).toSorted(([a], [b]) => rank(a) - rank(b))
  // The same members as before.
  return Object.fromEntries(entries) as T
}

/** Paths in the order of the tags; within one, as their routes were added. */
function byChapter({ paths, tags }: ApiDocument): ApiDocument['paths'] {
  const chapter = (path: string) => {
    const [first] = Object.values(paths[path] ?? {})
    return tags.findIndex(({ name }) => first?.tags.includes(name))
  }
  return Object.fromEntries(Object.entries(paths).toSorted(([a], [b]) => chapter(a) - chapter(b)))
}

/** Puts the members of the document, its operations and parameters where a reader looks for them. */
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

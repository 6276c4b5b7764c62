import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { AppError } from '../shared/errors.ts'
import type { StripeResource } from './stripe-resource.ts'

const FOLDER = new URL('./resources/', import.meta.url)

async function load(): Promise<StripeResource[]> {
  const files = await readdir(fileURLToPath(FOLDER))
  // `.ts` in the checkout, `.js` in `dist`, where `.d.ts` files lie beside them.
  const modules = files.filter((file) => /^[a-z-]+\.(ts|js)$/.test(file)).toSorted()
  return Promise.all(
    modules.map(async (file) => {
      const module: unknown = await import(new URL(file, FOLDER).href)
      return resourceIn(module, file)
    }),
  )
}

function resourceIn(module: unknown, file: string): StripeResource {
  const isModule = typeof module === 'object' && module !== null && 'resource' in module
  if (!isModule) throw new Error(`mirror/resources/${file} does not export \`resource\`.`)
  // A test checks that every file exports a complete resource.
  return module.resource as StripeResource
}

/**
 * All resources of the mirror, sorted by file name. To add a resource, add a file to `resources/` that
 * exports `resource` (its type, StripeResource, explains each member). docs/mirror.md says what else it needs.
 */
export const ALL_RESOURCES: readonly StripeResource[] = await load()

const byName = new Map(ALL_RESOURCES.map((resource) => [resource.name, resource]))
const byObject = new Map(
  ALL_RESOURCES.flatMap((resource) => resource.objects.map((object) => [object, resource])),
)

/** The resource with this name, or undefined. */
export function findResource(name: string): StripeResource | undefined {
  return byName.get(name)
}

/** The resource that stores objects of this kind, such as `payment_intent`, or undefined. */
export function resourceOfObject(object: string): StripeResource | undefined {
  return byObject.get(object)
}

/** The 404 error for an unknown resource name. It lists the known ones. */
export function unknownResource(): AppError {
  const known = ALL_RESOURCES.map(({ name }) => name)
  // Does not repeat the given name: the text is logged, and a path can contain anything.
  const detail = `The mirror has no such resource. Known resources: ${known.join(', ')}.`
  return new AppError('not_found', detail, { extra: { known_resources: known } })
}

/** The names of a resource in the API document. */
export type MirrorNames = {
  /** The schema of a row. */
  schema: string
  /** Such as `payment intent`. */
  one: string
}

/** Derives the names from the resource's name and from the first of its `objects`. */
export function mirrorNames({
  name,
  objects,
}: Pick<StripeResource, 'name' | 'objects'>): MirrorNames {
  const one = objects[0] ?? name
  return {
    schema: `Mirrored${pascalCase(one)}`,
    one: one.replaceAll(/[._]/g, ' '),
  }
}

function pascalCase(text: string): string {
  return text
    .split(/[^A-Za-z]+/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('')
}

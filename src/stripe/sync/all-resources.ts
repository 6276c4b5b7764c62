import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { StripeResource } from './stripe-resource.ts'

const FOLDER = new URL('./resources/', import.meta.url)

async function load(): Promise<StripeResource[]> {
  const files = await readdir(fileURLToPath(FOLDER))
  // `.ts` in the checkout, `.js` in `dist`, where the types lie beside.
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
  if (!isModule) throw new Error(`stripe/sync/resources/${file} does not export \`resource\`.`)
  // The one place where files become resources; a test asks each of them for all that it must have.
  return module.resource as StripeResource
}

/** Every kind of object in the mirror: one file in `resources/` each, in the order of their names. */
export const ALL_RESOURCES: readonly StripeResource[] = await load()

const byName = new Map(ALL_RESOURCES.map((resource) => [resource.name, resource]))
const byObject = new Map(
  ALL_RESOURCES.flatMap((resource) => resource.objects.map((object) => [object, resource])),
)

/** The resource of this name, or undefined. */
export function findResource(name: string): StripeResource | undefined {
  return byName.get(name)
}

/** The resource that keeps objects of this kind, such as `payment_intent`, or undefined. */
export function resourceOfObject(object: string): StripeResource | undefined {
  return byObject.get(object)
}

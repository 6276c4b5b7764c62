import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { AppError } from '../shared/errors.ts'
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
  if (!isModule) throw new Error(`mirror/resources/${file} does not export \`resource\`.`)
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

type Named = Pick<StripeResource, 'name' | 'objects'>

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1)

const pascal = (text: string) =>
  text
    .split(/[^A-Za-z]+/)
    .map(capital)
    .join('')

const singular = ({ name, objects }: Named) => objects[0] ?? name

/** How the API's document names the parts of one resource, and its people speak of it. */
export type MirrorNames = {
  /** operationIds. */
  list: string
  get: string
  sync: string
  /** The schema of a row. */
  schema: string
  /** `payment intent` and `payment intents`. */
  one: string
  many: string
}

/** From the resource's name and from Stripe's own name for one of the kind: its first `object`. */
export function mirrorNames(resource: Named): MirrorNames {
  const one = singular(resource)
  return {
    list: `listStripe${pascal(resource.name)}`,
    get: `getStripe${pascal(one)}`,
    sync: `syncStripe${pascal(resource.name)}`,
    schema: `Mirrored${pascal(one)}`,
    one: one.replaceAll(/[._]/g, ' '),
    many: resource.name.replaceAll('-', ' '),
  }
}

/** The 404 for a name that is no resource of the mirror. It lists those that are. */
export function unknownResource(): AppError {
  const known = ALL_RESOURCES.map(({ name }) => name)
  // Without the name that was asked for: the log gets the text, and a path may hold anything.
  const detail = `The mirror has no such resource. Known are ${known.join(', ')}.`
  return new AppError('not_found', detail, { extra: { known_resources: known } })
}

import { ALL_RESOURCES } from './all-resources.ts'
import { mirrorSchemas } from './mirror-schemas.ts'
import type { StripeResource } from './stripe-resource.ts'

/** A resource with the zod schemas of its routes. */
export type Mirror = { resource: StripeResource; schemas: ReturnType<typeof mirrorSchemas> }

/** Every resource. Made once, whatever the number of apps in this process: zod registers names. */
export const MIRRORS: readonly Mirror[] = ALL_RESOURCES.map((resource) => ({
  resource,
  schemas: mirrorSchemas(resource),
}))

/** The schemas of one resource's routes. @throws Error for a name that no resource has. */
export function mirrorSchemasOf(name: string): Mirror['schemas'] {
  const found = MIRRORS.find(({ resource }) => resource.name === name)
  if (found === undefined) throw new Error(`There is no resource ${name}`)
  return found.schemas
}

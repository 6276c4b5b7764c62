import type { StripeResource } from '../../stripe/sync/stripe-resource.ts'

/**
 * The same resources, each behind the one whose objects it is listed by: a list for every customer
 * has to know the customers first.
 */
export function inDependencyOrder(resources: readonly StripeResource[]): StripeResource[] {
  const ordered = new Set<StripeResource>()
  const place = (resource: StripeResource): void => {
    const { listing } = resource
    const parent =
      listing.by === 'per' ? resources.find(({ name }) => name === listing.parent) : undefined
    if (parent !== undefined) place(parent)
    ordered.add(resource)
  }
  for (const resource of resources) place(resource)
  return [...ordered]
}

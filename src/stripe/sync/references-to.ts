import { idOf } from './stripe-object.ts'
import { isForeignId, type Reference, type StripeResource } from './stripe-resource.ts'

type Target = Pick<StripeResource, 'name' | 'idPrefixes'>
type Pointer = string | { id?: string } | null | undefined

/**
 * The references of an object, for `StripeResource.references`: pairs of a resource and what the
 * object's field holds, one or many. Left out is what is null, what comes twice, and ids of another
 * kind: a field may hold several, such as a guest (`gcus_`) for a customer.
 */
export function referencesTo(
  ...pointers: readonly (readonly [Target, Pointer | readonly Pointer[]])[]
): Reference[] {
  return pointers.flatMap(([target, pointed]) => {
    const ids = [pointed].flat().map(idOf)
    return [...new Set(ids)]
      .filter((id) => id !== null)
      .filter((id) => id !== '' && !isForeignId(target, id))
      .map((id) => ({ resource: target.name, id }))
  })
}

import { errorText } from '../../inbox/error-text.ts'
import { askStripe } from '../../stripe-errors.ts'
import { findResource } from '../all-resources.ts'
import type { StripeObject } from '../stripe-object.ts'
import { isForeignId, type Reference, type StripeResource } from '../stripe-resource.ts'
import type { SyncContext } from '../sync-context.ts'
import type { SyncOutcome } from '../sync-outcome.ts'
import { readingTimes, referenceKey } from './reading-times.ts'

/**
 * Reads an object and stores it, and then whatever it hangs on that was never read: a subscription's
 * customer, a charge's balance transaction. Those cannot fail the object itself; what they throw is
 * logged.
 *
 * @throws AppError `stripe_…`, and what the database threw.
 */
export async function mirrorObject(
  context: SyncContext,
  resource: StripeResource,
  id: string,
): Promise<SyncOutcome> {
  const visited = new Set([referenceKey({ resource: resource.name, id })])
  return refresh(context, resource, id, visited)
}

async function refresh(
  context: SyncContext,
  resource: StripeResource,
  id: string,
  visited: Set<string>,
): Promise<SyncOutcome> {
  const action = resource.createAction(context)
  const { object, outcome } = await askStripe(() => action.refresh(id))
  if (object !== null && outcome !== 'foreign') {
    await mirrorReferences(context, resource, object, visited)
  }
  return outcome
}

async function mirrorReferences(
  context: SyncContext,
  resource: StripeResource,
  object: StripeObject,
  visited: Set<string>,
): Promise<void> {
  const tell = (error: unknown, reference?: Reference) =>
    context.logger.warn(
      { conference: context.conferenceId, object: object.id, reference, error: errorText(error) },
      'what an object hangs on could not be mirrored',
    )
  try {
    const references = (resource.references?.(object) ?? []).filter(isReadable)
    const known = await readingTimes(context.db, context.conferenceId, references)
    for (const reference of references) {
      const key = referenceKey(reference)
      const target = findResource(reference.resource)
      if (known.has(key) || visited.has(key) || target === undefined) continue
      visited.add(key)
      await refresh(context, target, reference.id, visited).catch((error: unknown) =>
        tell(error, reference),
      )
    }
  } catch (error) {
    tell(error)
  }
}

function isReadable({ resource, id }: Reference): boolean {
  const target = findResource(resource)
  return target !== undefined && !isForeignId(target, id)
}

import { errorText } from '../../inbox/error-text.ts'
import { askStripe } from '../../stripe-errors.ts'
import { findResource } from '../all-resources.ts'
import type { ReadingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { Reference, StripeResource } from '../stripe-resource.ts'
import type { SyncContext } from '../sync-context.ts'
import type { SyncOutcome } from '../sync-outcome.ts'
import { findUnread, readStored, referenceKey, referencesOf } from './stored-objects.ts'

/**
 * Makes sure that the mirror has a reading of the object that was requested at `after` or later, and
 * has whatever the object hangs on at all: a subscription's customer, a refund's balance
 * transaction. Those cannot fail the object itself; what they throw is logged.
 *
 * @throws AppError `stripe_…`, and what the database threw.
 */
export async function mirrorObject(
  context: SyncContext,
  resource: StripeResource,
  id: string,
  after: ReadingTime,
): Promise<SyncOutcome> {
  const reference = { resource: resource.name, id }
  const visited = new Set([referenceKey(reference)])
  const [stored] = await readStored(context.db, context.conferenceId, [reference])
  if (stored === undefined || stored.readAt < after) {
    return refresh(context, resource, id, visited)
  }
  await mirrorReferences(context, resource.name, stored.object, visited)
  return 'unchanged'
}

async function refresh(
  context: SyncContext,
  resource: StripeResource,
  id: string,
  visited: Set<string>,
): Promise<SyncOutcome> {
  const action = resource.createAction(context)
  const { object, outcome } = await askStripe(() => action.refresh(id))
  if (outcome !== 'foreign') await mirrorReferences(context, resource.name, object, visited)
  return outcome
}

async function mirrorReferences(
  context: SyncContext,
  resource: string,
  object: StripeObject | null,
  visited: Set<string>,
): Promise<void> {
  const { db, conferenceId, logger } = context
  const tell = (error: unknown, reference?: Reference) =>
    logger.warn(
      { conference: conferenceId, object: object?.id, reference, error: errorText(error) },
      'what an object hangs on could not be mirrored',
    )
  try {
    for (const reference of await findUnread(db, conferenceId, referencesOf(resource, object))) {
      const key = referenceKey(reference)
      const target = findResource(reference.resource)
      if (visited.has(key) || target === undefined) continue
      visited.add(key)
      await refresh(context, target, reference.id, visited).catch((error: unknown) =>
        tell(error, reference),
      )
    }
  } catch (error) {
    tell(error)
  }
}

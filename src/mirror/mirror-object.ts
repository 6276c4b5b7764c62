import type { Db } from '../db/connect.ts'
import { tenantStatement } from '../db/tenant-scope.ts'
import { callStripe, errorText } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import { rateLimitWaitOf } from '../stripe/wait-for-rate-limit.ts'
import type { FetchTime } from './fetch-time.ts'
import { findResource } from './resource-registry.ts'
import {
  isForeignId,
  type Reference,
  type StripeResource,
  type SyncContext,
  tableOf,
} from './stripe-resource.ts'
import type { SyncOutcome } from './sync-outcome.ts'

/**
 * Makes sure that the mirror holds a version of the object that was requested at `after` or later, and
 * any version of the objects that it refers to, such as a subscription's customer. Failures of those
 * are logged and do not fail the object itself, except a long wait for the account's rate limit: the
 * caller repeats all of it later.
 *
 * @throws AppError `stripe_…`, and database errors.
 */
export async function mirrorObject(
  context: SyncContext,
  resource: StripeResource,
  id: string,
  after: FetchTime,
): Promise<SyncOutcome> {
  const reference = { resource: resource.name, id }
  const visited = new Set([referenceKey(reference)])
  const [stored] = await findStoredObjects(context.db, context.conferenceId, [reference])
  if (stored === undefined || stored.fetchedAt < after) {
    return refreshObject(context, resource, id, visited)
  }
  await mirrorReferences(context, resource.name, stored.object, visited)
  return 'unchanged'
}

async function refreshObject(
  context: SyncContext,
  resource: StripeResource,
  id: string,
  visited: Set<string>,
): Promise<SyncOutcome> {
  const action = resource.createAction(context)
  const { object, outcome } = await callStripe(() => action.refresh(id))
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
  const logFailure = (error: unknown, reference?: Reference) => {
    if (rateLimitWaitOf(error) !== null) throw error
    logger.warn(
      { conference: conferenceId, object: object?.id, reference, error: errorText(error) },
      'could not mirror an object that another object refers to',
    )
  }
  try {
    const references = referencesOf(resource, object)
    for (const reference of await findUnmirrored(db, conferenceId, references)) {
      const key = referenceKey(reference)
      const target = findResource(reference.resource)
      if (visited.has(key) || target === undefined) continue
      visited.add(key)
      await refreshObject(context, target, reference.id, visited).catch((error: unknown) =>
        logFailure(error, reference),
      )
    }
  } catch (error) {
    logFailure(error)
  }
}

/** The objects that an object refers to, as far as the mirror has resources for them. */
export function referencesOf(resource: string, object: StripeObject | null): Reference[] {
  if (object === null) return []
  const references = findResource(resource)?.references?.(object) ?? []
  return references.filter(({ resource: name, id }) => {
    const target = findResource(name)
    return target !== undefined && !isForeignId(target, id)
  })
}

/** Identifies an object of the mirror within a conference. */
export const referenceKey = ({ resource, id }: Reference) => `${resource} ${id}`

/** An object in the mirror. `object` is null when it is deleted. */
export type StoredObject = {
  reference: Reference
  fetchedAt: FetchTime
  object: StripeObject | null
}

/** Those of the objects that the mirror has, including tombstones. One statement for all. */
export async function findStoredObjects(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<StoredObject[]> {
  const data = 'case when deleted_at is null then data end'
  const rows = await queryRows(db, conferenceId, objects, data)
  return rows.map(({ resource, id, fetched_at: fetchedAt, data: object }) => ({
    reference: { resource, id },
    fetchedAt,
    object,
  }))
}

/** Those of the objects that the mirror does not have, not even as tombstones. One statement for all. */
export async function findUnmirrored(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<Reference[]> {
  const rows = await queryRows(db, conferenceId, objects, 'null::jsonb')
  const stored = new Set(rows.map(referenceKey))
  return objects.filter((object) => !stored.has(referenceKey(object)))
}

type StoredObjectRow = Reference & { fetched_at: FetchTime; data: StripeObject | null }

async function queryRows(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
  data: string,
): Promise<StoredObjectRow[]> {
  const distinct = new Map(objects.map((object) => [referenceKey(object), object]))
  const known = [...distinct.values()].filter(({ resource }) => findResource(resource))
  if (known.length === 0) return []
  return tenantStatement<StoredObjectRow>(db, { conferenceId }, (bind) =>
    known
      .map(
        ({ resource: name, id }) => `select '${name}' as resource, id, ${data} as data,
          (extract(epoch from as_of) * 1000000)::bigint as fetched_at
        from ${tableOf({ name })}
        where conference_id = ${bind(conferenceId)} and id = ${bind(id)}`,
      )
      .join(' union all '),
  )
}

import type { Db } from '../db/connect.ts'
import { literal, tenantStatement } from '../db/tenant-scope.ts'
import { errorText } from '../stripe/error-text.ts'
import { callStripe } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-object.ts'
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
  after: FetchTime,
): Promise<SyncOutcome> {
  const reference = { resource: resource.name, id }
  const visited = new Set([referenceKey(reference)])
  const [stored] = await findStoredObjects(context.db, context.conferenceId, [reference])
  if (stored === undefined || stored.readAt < after) {
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
  const tell = (error: unknown, reference?: Reference) =>
    logger.warn(
      { conference: conferenceId, object: object?.id, reference, error: errorText(error) },
      'what an object hangs on could not be mirrored',
    )
  try {
    for (const reference of await findUnmirrored(
      db,
      conferenceId,
      referencesOf(resource, object),
    )) {
      const key = referenceKey(reference)
      const target = findResource(reference.resource)
      if (visited.has(key) || target === undefined) continue
      visited.add(key)
      await refreshObject(context, target, reference.id, visited).catch((error: unknown) =>
        tell(error, reference),
      )
    }
  } catch (error) {
    tell(error)
  }
}

/** An object as the mirror has it. `object`: null when it is deleted. */
export type StoredObject = { reference: Reference; readAt: FetchTime; object: StripeObject | null }

type StoredObjectRow = Reference & { read_at: FetchTime; data: StripeObject | null }

/** Names an object of the mirror within a conference. */
export const referenceKey = ({ resource, id }: Reference) => `${resource} ${id}`

function selectRow(
  conferenceId: string,
  { resource: name, id }: Reference,
  data: string,
): string[] {
  const resource = findResource(name)
  if (resource === undefined) return []
  return [
    `select ${literal(name)} as resource, id, ${data} as data,
       (extract(epoch from as_of) * 1000000)::bigint as read_at
     from ${tableOf(resource)}
     where conference_id = ${literal(conferenceId)} and id = ${literal(id)}`,
  ]
}

async function queryRows(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
  data: string,
): Promise<StoredObjectRow[]> {
  const distinct = new Map(objects.map((object) => [referenceKey(object), object]))
  const selects = [...distinct.values()].flatMap((object) => selectRow(conferenceId, object, data))
  if (selects.length === 0) return []
  return tenantStatement<StoredObjectRow>(db, { conferenceId }, selects.join(' union all '))
}

/** Those of the objects that were ever read, deleted ones included; one statement for all. */
export async function findStoredObjects(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<StoredObject[]> {
  const data = 'case when deleted_at is null then data end'
  const rows = await queryRows(db, conferenceId, objects, data)
  return rows.map(({ resource, id, read_at: readAt, data: object }) => ({
    reference: { resource, id },
    readAt,
    object,
  }))
}

/** What an object hangs on, as far as the mirror has kinds for it. */
export function referencesOf(resource: string, object: StripeObject | null): Reference[] {
  if (object === null) return []
  const references = findResource(resource)?.references?.(object) ?? []
  return references.filter(({ resource: name, id }) => {
    const target = findResource(name)
    return target !== undefined && !isForeignId(target, id)
  })
}

/** Those of the objects that were never read; one statement for all. */
export async function findUnmirrored(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<Reference[]> {
  const rows = await queryRows(db, conferenceId, objects, 'null::jsonb')
  const known = new Set(rows.map(referenceKey))
  return objects.filter((object) => !known.has(referenceKey(object)))
}

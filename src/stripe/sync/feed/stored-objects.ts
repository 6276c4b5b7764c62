import type { Db } from '../../../db/connect.ts'
import { literal, tenantStatement } from '../../../db/tenant-statement.ts'
import { findResource } from '../all-resources.ts'
import type { ReadingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import { isForeignId, type Reference, tableOf } from '../stripe-resource.ts'

/** An object as the mirror has it. `object`: null when it is deleted. */
export type Stored = { reference: Reference; readAt: ReadingTime; object: StripeObject | null }

type Row = Reference & { read_at: ReadingTime; data: StripeObject | null }

/** Names an object of the mirror within a conference. */
export const referenceKey = ({ resource, id }: Reference) => `${resource} ${id}`

function select(conferenceId: string, { resource: name, id }: Reference, data: string): string[] {
  const resource = findResource(name)
  if (resource === undefined) return []
  return [
    `select ${literal(name)} as resource, id, ${data} as data,
       (extract(epoch from as_of) * 1000000)::bigint as read_at
     from ${tableOf(resource)}
     where conference_id = ${literal(conferenceId)} and id = ${literal(id)}`,
  ]
}

async function readRows(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
  data: string,
): Promise<Row[]> {
  const distinct = new Map(objects.map((object) => [referenceKey(object), object]))
  const selects = [...distinct.values()].flatMap((object) => select(conferenceId, object, data))
  if (selects.length === 0) return []
  return tenantStatement<Row>(db, { conferenceId }, selects.join(' union all '))
}

/** Those of the objects that were ever read, deleted ones included; one statement for all. */
export async function readStored(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<Stored[]> {
  const data = 'case when deleted_at is null then data end'
  const rows = await readRows(db, conferenceId, objects, data)
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
export async function findUnread(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<Reference[]> {
  const rows = await readRows(db, conferenceId, objects, 'null::jsonb')
  const known = new Set(rows.map(referenceKey))
  return objects.filter((object) => !known.has(referenceKey(object)))
}

import type { Db } from '../../../db/connect.ts'
import { literal, tenantStatement } from '../../../db/tenant-statement.ts'
import { findResource } from '../all-resources.ts'
import type { ReadingTime } from '../reading-time.ts'
import { type Reference, tableOf } from '../stripe-resource.ts'

/** Names an object of the mirror within a conference. */
export const referenceKey = ({ resource, id }: Reference) => `${resource} ${id}`

function select(conferenceId: string, { resource: name, id }: Reference): string[] {
  const resource = findResource(name)
  if (resource === undefined) return []
  return [
    `select ${literal(name)} as resource, id,
       (extract(epoch from as_of) * 1000000)::bigint as as_of
     from ${tableOf(resource)}
     where conference_id = ${literal(conferenceId)} and id = ${literal(id)}`,
  ]
}

/**
 * When the mirror last read each of these objects, by `referenceKey`; one statement for all. Deleted
 * ones count. An object that was never read is left out, and so is one of an unknown kind.
 */
export async function readingTimes(
  db: Db,
  conferenceId: string,
  objects: readonly Reference[],
): Promise<ReadonlyMap<string, ReadingTime>> {
  const distinct = new Map(objects.map((object) => [referenceKey(object), object]))
  const selects = [...distinct.values()].flatMap((object) => select(conferenceId, object))
  if (selects.length === 0) return new Map()
  const rows = await tenantStatement<Reference & { as_of: ReadingTime }>(
    db,
    { conferenceId },
    selects.join(' union all '),
  )
  return new Map(rows.map(({ as_of: asOf, ...row }) => [referenceKey(row), asOf]))
}

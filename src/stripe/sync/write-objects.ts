import type { Db } from '../../db/connect.ts'
import { literal, tenantStatement } from '../../db/tenant-statement.ts'
import type { MirrorRow } from './mirror-row.ts'
import { comparedRows, givenRows, writtenAndFollowing } from './mirror-statement.ts'
import { momentOf, type ReadingTime } from './reading-time.ts'
import type { StripeObject } from './stripe-object.ts'
import { type StripeResource, tableOf } from './stripe-resource.ts'
import type { Synced } from './sync-outcome.ts'

/**
 * Stores the rows of one reading with one statement; what was read later stays.
 *
 * @param rows one for an id at most.
 */
export function writeRows<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  conferenceId: string,
  rows: readonly MirrorRow[],
  asOf: ReadingTime,
): Promise<Synced[]> {
  const write = { conferenceId, asOf, sparing: false }
  return tenantStatement<Synced>(
    db,
    { conferenceId },
    `with ${givenRows(resource, rows)}, ${comparedRows(resource, write)},
      ${writtenAndFollowing(resource, write)}
    select compared.id, compared.outcome from compared left join written using (id)`,
  )
}

/**
 * Marks objects as deleted that a reading did not find. What they were stays readable; one that we
 * never knew is noted too, so that an older reading that arrives later cannot bring it to life.
 *
 * @returns the ids that lived here until now.
 */
export async function writeTombstones(
  db: Db,
  resource: { name: string; objects: readonly string[] },
  conferenceId: string,
  ids: readonly string[],
  asOf: ReadingTime,
): Promise<string[]> {
  if (ids.length === 0) return []
  const at = momentOf(literal(asOf))
  const rows = ids.map((id) => ({ id, object: resource.objects[0], deleted: true }))
  const found = await tenantStatement<{ id: string }>(
    db,
    { conferenceId },
    `with given as (
      select distinct data ->> 'id' as id, data
      from jsonb_array_elements(${literal(JSON.stringify(rows))}::jsonb) as data
    ), living as (
      select mirror.id from ${tableOf(resource)} mirror join given using (id)
      where mirror.conference_id = ${literal(conferenceId)} and mirror.deleted_at is null
    ), written as (
      insert into ${tableOf(resource)} as mirror (conference_id, id, data, as_of, deleted_at)
      select ${literal(conferenceId)}, given.id, given.data, ${at}, ${at} from given order by given.id
      on conflict (conference_id, id) do update
      set as_of = excluded.as_of, deleted_at = coalesce(mirror.deleted_at, excluded.deleted_at)
      where excluded.as_of > mirror.as_of
      returning mirror.id
    )
    select id from written join living using (id)`,
  )
  return found.map(({ id }) => id)
}

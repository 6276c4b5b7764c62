import type { Db } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { StripeObject } from '../stripe-object.ts'
import { type StripeResource, tableOf } from '../stripe-resource.ts'
import type { ClaimedRun } from './run-store.ts'

/** Rows that are looked at in one go. */
const GROUP = 100

/** Rows that are looked for in one go: each time, all listed ids are read. */
const SEARCHED = 10_000

const AT_A_TIME_MOMENT = `timestamptz 'epoch' + ?::bigint * interval '1 microsecond'`

/**
 * Live rows that a complete listing did not show although they were here before it began. Nothing is
 * said of them yet: the listing may have missed one that moved, so each is asked for by its id.
 *
 * @returns the ids in order, a hundred at a time.
 */
export async function* missingIds<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  run: Pick<ClaimedRun, 'conferenceId' | 'id' | 'listedFrom'>,
): AsyncGenerator<string[]> {
  for (let after = ''; ; ) {
    const from = after
    const ids = await withTenant(db, run, (trx) =>
      trx(`${tableOf(resource)} as mirror`)
        .where('mirror.conference_id', run.conferenceId)
        .whereNull('mirror.deleted_at')
        .where('mirror.id', '>', from)
        .whereRaw(`mirror.as_of < ${AT_A_TIME_MOMENT}`, [run.listedFrom])
        .whereNotExists(
          trx
            .from(
              trx('sync_run_ids')
                .where({ conference_id: run.conferenceId, run_id: run.id })
                .select(trx.raw('unnest(ids) as id'))
                .as('listed'),
            )
            .whereRaw('listed.id = mirror.id'),
        )
        .whereRaw(resource.unlisted === undefined ? 'true' : `not (${resource.unlisted})`)
        .orderBy('mirror.id')
        .limit(SEARCHED)
        .pluck<string[]>('mirror.id'),
    )
    for (let start = 0; start < ids.length; start += GROUP) yield ids.slice(start, start + GROUP)
    if (ids.length < SEARCHED) return
    after = ids.at(-1) ?? ''
  }
}

/** How many rows of the resource live. */
export async function countLiving(
  db: Db,
  resource: { name: string },
  conferenceId: string,
): Promise<number> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx(tableOf(resource))
      .where({ conference_id: conferenceId })
      .whereNull('deleted_at')
      .count<{ count: number }[]>()
      .first(),
  )
  return row?.count ?? 0
}

/** Deleting at most this many needs no second thought. */
const FEW = 10
const SHARE = 0.2

/**
 * True when so many are gone that something else is likelier: another account's key, a list that
 * came back empty.
 */
export function isMassDeletion(gone: number, living: number): boolean {
  return gone > FEW && gone > living * SHARE
}

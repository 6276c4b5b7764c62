import { findConferenceId, listConferences } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import type { Caller } from '../http/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { CLI_ACTOR } from './cli-actor.ts'

/** The conference behind a slug or an id, as its operator. @throws AppError `not_found` */
export async function findConference(db: Db, reference: string): Promise<Caller> {
  const id = await withSystem(db, 'manage-conferences', (trx) => findConferenceId(trx, reference))
  if (id === null) throw notFound(`conference: ${reference}`)
  return asOperator(id)
}

/** Every conference, newest first. */
export async function allConferences(db: Db): Promise<Caller[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const query = { limit: 100, cursor }
    const page = await withSystem(db, 'manage-conferences', (trx) => listConferences(trx, query))
    ids.push(...page.data.map(({ id }) => id))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return ids.map(asOperator)
}

/** The one that is named, else all: an id alone does not tell whose it is. */
export async function conferencesToSearch(
  db: Db,
  reference: string | undefined,
): Promise<Caller[]> {
  return reference === undefined ? allConferences(db) : [await findConference(db, reference)]
}

/**
 * Runs `work` in one conference after the other until one has what it asks for. Row security keeps
 * each look inside its own conference, where the indexes are.
 *
 * @throws AppError `not_found` of the last one.
 */
export async function inOwner<T>(
  db: Db,
  conferences: readonly Caller[],
  kind: string,
  work: (trx: Tx, caller: Caller) => Promise<T>,
): Promise<T> {
  for (const caller of conferences) {
    try {
      return await withTenant(db, caller, (trx) => work(trx, caller))
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'not_found')) throw error
    }
  }
  throw notFound(kind)
}

function asOperator(conferenceId: string): Caller {
  return { conferenceId, actor: CLI_ACTOR, sponsorId: null }
}

import type { Tx } from '../db/connect.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import { fetchPage, type Page, type PageQuery } from '../http/pages.ts'
import { AppError, notFound } from '../shared/errors.ts'
import type { SponsorLevel } from './sponsor.ts'

const COLUMNS = ['id', 'name', 'slug', 'comp_ticket_count', 'created_at', 'updated_at'] as const

export type LevelRow = {
  id: string
  name: string
  slug: string
  comp_ticket_count: number
  created_at: Date
  updated_at: Date
}

export function toLevel(row: LevelRow): SponsorLevel {
  return {
    id: row.id,
    name: row.name,
    slug: row.slug,
    compTicketCount: row.comp_ticket_count,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

export function slugTaken(slug: string | undefined): AppError {
  return new AppError('already_exists', `The slug ${slug ?? ''} is taken.`, {
    errors: [{ pointer: '/slug', detail: 'is taken' }],
  })
}

/** The new level, or null when its slug is taken. */
export async function insertLevel(
  trx: Tx,
  conferenceId: string,
  level: Pick<LevelRow, 'id' | 'name' | 'slug' | 'comp_ticket_count'>,
): Promise<SponsorLevel | null> {
  const [row] = await trx('sponsor_levels')
    .insert({ conference_id: conferenceId, ...level })
    .onConflict(['conference_id', 'slug'])
    .ignore()
    .returning<LevelRow[]>([...COLUMNS])
  return row === undefined ? null : toLevel(row)
}

/** The level by its id or slug, or null. */
export async function findLevel(
  trx: Tx,
  conferenceId: string,
  idOrSlug: string,
): Promise<SponsorLevel | null> {
  // An id has an underscore and a slug never does, so at most one row fits.
  const row = await trx('sponsor_levels')
    .where({ conference_id: conferenceId })
    .where((either) => {
      void either.where({ id: idOrSlug }).orWhere({ slug: idOrSlug })
    })
    .first<LevelRow | undefined>([...COLUMNS])
  return row === undefined ? null : toLevel(row)
}

/** @throws AppError `not_found` */
export async function getLevel(
  trx: Tx,
  conferenceId: string,
  idOrSlug: string,
): Promise<SponsorLevel> {
  const level = await findLevel(trx, conferenceId, idOrSlug)
  if (level === null) throw notFound('sponsor level')
  return level
}

export function listLevels(
  trx: Tx,
  conferenceId: string,
  page: PageQuery,
): Promise<Page<LevelRow>> {
  const query = trx('sponsor_levels').where({ conference_id: conferenceId })
  return fetchPage(query.select([...COLUMNS]), page)
}

/** Changes what is given. @throws AppError `not_found`, or `already_exists` for a slug in use. */
export async function updateLevel(
  trx: Tx,
  conferenceId: string,
  id: string,
  changes: { [K in 'name' | 'slug' | 'comp_ticket_count']?: LevelRow[K] | undefined },
): Promise<SponsorLevel> {
  try {
    const [row] = await trx('sponsor_levels')
      .where({ conference_id: conferenceId, id })
      .update({ ...changes, updated_at: trx.fn.now() })
      .returning<LevelRow[]>([...COLUMNS])
    if (row === undefined) throw notFound('sponsor level')
    return toLevel(row)
  } catch (error) {
    if (isUniqueViolation(error, 'sponsor_levels_slug_key')) throw slugTaken(changes.slug)
    throw error
  }
}

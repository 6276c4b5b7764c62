import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import { notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { slugFromName, slugTaken, unusedSlug } from './slugs.ts'
/** A tier of sponsorship. */
export type SponsorLevel = {
  id: string
  name: string
  slug: string
  /** Number of single-use complimentary vouchers that a sponsor gets with its first level. */
  compTicketCount: number
  createdAt: Date
  updatedAt: Date
}

export type LevelInput = { name: string; slug?: string | undefined; comp_ticket_count: number }
export type LevelChanges = { [K in keyof LevelInput]?: LevelInput[K] | undefined }

/** Creates a level. @throws AppError `already_exists` when the given slug is taken. */
export async function createLevel(
  trx: Tx,
  conferenceId: string,
  input: LevelInput,
): Promise<SponsorLevel> {
  const rest = {
    id: newId('sponsorLevel'),
    name: input.name,
    comp_ticket_count: input.comp_ticket_count,
  }
  if (input.slug !== undefined) {
    const level = await insertLevel(trx, conferenceId, { ...rest, slug: input.slug })
    if (level === null) throw slugTaken(input.slug)
    return level
  }
  const base = slugFromName(input.name, 'level')
  for (;;) {
    const slug = await unusedSlug(trx, 'sponsor_levels', conferenceId, base)
    const level = await insertLevel(trx, conferenceId, { ...rest, slug })
    if (level !== null) return level
  }
}

/** Changes a level. Sponsors keep the vouchers that they already have. */
export async function changeLevel(
  trx: Tx,
  conferenceId: string,
  idOrSlug: string,
  changes: LevelChanges,
): Promise<SponsorLevel> {
  const { id } = await getLevel(trx, conferenceId, idOrSlug)
  return updateLevel(trx, conferenceId, id, changes)
}

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

/** The new level, or null when its slug is taken. */
async function insertLevel(
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
  // An id contains an underscore and a slug does not, so at most one row matches.
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

/** Updates the given fields. @throws AppError `not_found`, or `already_exists` for a slug in use. */
async function updateLevel(
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

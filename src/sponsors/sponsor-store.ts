import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import { PREPARED } from '../db/pipeline.ts'
import { containing, fetchSearchPage, searchCandidates } from '../db/text-search.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { slugTaken } from './slugs.ts'

const COLUMNS = [
  'id',
  'name',
  'slug',
  'external_id',
  'contact_email',
  'level_id',
  'comps_issued_at',
  'created_at',
  'updated_at',
] as const

export type SponsorRow = {
  id: string
  name: string
  slug: string
  external_id: string | null
  contact_email: string | null
  level_id: string | null
  comps_issued_at: Date | null
  created_at: Date
  updated_at: Date
}

type Writable = 'name' | 'slug' | 'external_id' | 'contact_email' | 'level_id'

export function toSponsor(row: SponsorRow): Sponsor {
  return {
    id: row.id,
    name: row.name,
    slug: row.slug,
    externalId: row.external_id,
    contactEmail: row.contact_email,
    levelId: row.level_id,
    compsIssuedAt: row.comps_issued_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

/**
 * The new sponsor, or null when its slug is taken.
 *
 * @throws AppError `already_exists` for an external id in use.
 */
export async function insertSponsor(
  trx: Tx,
  conferenceId: string,
  sponsor: Pick<SponsorRow, 'id' | Writable>,
): Promise<Sponsor | null> {
  try {
    const [row] = await trx('sponsors')
      .insert({ conference_id: conferenceId, ...sponsor })
      .onConflict(['conference_id', 'slug'])
      .ignore()
      .returning<SponsorRow[]>([...COLUMNS])
    return row === undefined ? null : toSponsor(row)
  } catch (error) {
    throw conflictOf(error, sponsor)
  }
}

function conflictOf(error: unknown, values: { [K in Writable]?: SponsorRow[K] | undefined }) {
  if (isUniqueViolation(error, 'sponsors_slug_key')) return slugTaken(values.slug)
  if (!isUniqueViolation(error, 'sponsors_external_id_key')) return error
  return new AppError(
    'already_exists',
    `The external id "${values.external_id ?? ''}" is already taken.`,
    {
      errors: [{ pointer: '/external_id', detail: 'is taken' }],
    },
  )
}

/** The sponsor by its id, slug or external id, or null. */
export async function findSponsor(
  trx: Tx,
  conferenceId: string,
  idOrSlugOrExternalId: string,
): Promise<Sponsor | null> {
  const row = await byReference(trx, conferenceId, idOrSlugOrExternalId)
    .options(PREPARED)
    .first<SponsorRow | undefined>([...COLUMNS])
  return row === undefined ? null : toSponsor(row)
}

function byReference(trx: Tx, conferenceId: string, reference: string) {
  // An external id is free text and may equal another sponsor's slug. Then the slug wins.
  return trx('sponsors')
    .where({ conference_id: conferenceId })
    .where((either) => {
      void either
        .where({ id: reference })
        .orWhere({ slug: reference })
        .orWhere({ external_id: reference })
    })
    .orderByRaw('(id = ?) desc, (slug = ?) desc', [reference, reference])
}

/** The sponsor by its id, slug or external id. @throws AppError `not_found` */
export async function getSponsor(
  trx: Tx,
  conferenceId: string,
  reference: string,
): Promise<Sponsor> {
  const sponsor = await findSponsor(trx, conferenceId, reference)
  if (sponsor === null) throw notFound('sponsor')
  return sponsor
}

/** The sponsor under a row lock. @throws AppError `not_found` */
export async function lockSponsor(trx: Tx, conferenceId: string, id: string): Promise<Sponsor> {
  const row = await trx('sponsors')
    .where({ conference_id: conferenceId, id })
    .forUpdate()
    .first<SponsorRow | undefined>([...COLUMNS])
  if (row === undefined) throw notFound('sponsor')
  return toSponsor(row)
}

export type SponsorFilter = {
  externalId?: string | undefined
  levelId?: string | undefined
  /** Part of the name, slug or contact address, in any case. */
  text?: string | undefined
}

export async function listSponsors(
  trx: Tx,
  conferenceId: string,
  filter: SponsorFilter,
  page: PageQuery,
): Promise<Page<SponsorRow>> {
  const { text } = filter
  const columns = COLUMNS.map((column) => `s.${column}`)
  const order = { at: 's.created_at', id: 's.id' }
  const list = trx('sponsors as s').where({ 's.conference_id': conferenceId })
  if (filter.externalId !== undefined) void list.where({ 's.external_id': filter.externalId })
  if (filter.levelId !== undefined) void list.where({ 's.level_id': filter.levelId })
  if (text === undefined) return fetchPage(list.select(columns), page, order)
  return fetchSearchPage(
    {
      list,
      alias: 's',
      columns,
      order,
      matched: ['s.name', 's.slug', 's.contact_email'],
      match: (query) =>
        query.whereRaw(
          '(s.name ilike :text or s.slug ilike :text or s.contact_email ilike :text)',
          { text: containing(text) },
        ),
      candidates: searchCandidates(trx, conferenceId, 'sponsor', text),
    },
    page,
  )
}

/** Updates the given fields. @throws AppError `already_exists` for a slug or external id in use. */
export async function updateSponsor(
  trx: Tx,
  conferenceId: string,
  id: string,
  changes: { [K in Writable]?: SponsorRow[K] | undefined },
): Promise<Sponsor> {
  try {
    const [row] = await trx('sponsors')
      .where({ conference_id: conferenceId, id })
      .update({ ...changes, updated_at: trx.fn.now() })
      .returning<SponsorRow[]>([...COLUMNS])
    if (row === undefined) throw notFound('sponsor')
    return toSponsor(row)
  } catch (error) {
    throw conflictOf(error, changes)
  }
}

/** Records that the sponsor's complimentary vouchers were issued. */
export async function markCompsIssued(trx: Tx, conferenceId: string, id: string): Promise<Sponsor> {
  const [row] = await trx('sponsors')
    .where({ conference_id: conferenceId, id })
    .update({ comps_issued_at: trx.fn.now() })
    .returning<SponsorRow[]>([...COLUMNS])
  if (row === undefined) throw notFound('sponsor')
  return toSponsor(row)
}

/** A buyer. `slug` and `externalId` are unique within its conference. */
export type Sponsor = {
  id: string
  name: string
  slug: string
  /** The sponsor's id in another system of the conference. */
  externalId: string | null
  contactEmail: string | null
  levelId: string | null
  /** When the complimentary vouchers of its first level were issued; null: never. */
  compsIssuedAt: Date | null
  createdAt: Date
  updatedAt: Date
}

/**
 * SQL for the name of a sponsor.
 *
 * @param row - alias of a row with conference_id and sponsor_id.
 */
export const sponsorNameOf = (row: string) => `(
  select s.name from sponsors s where s.conference_id = ${row}.conference_id and s.id = ${row}.sponsor_id)`

/**
 * The sponsors whose name or slug contains the text, in any case.
 *
 * @param where - the conference, or several.
 */
export function sponsorsByText(
  trx: Tx,
  where: string | readonly string[],
  text: string,
): Promise<{ id: string; conference_id: string }[]> {
  const query = trx('sponsors as s').whereRaw('(s.name ilike :text or s.slug ilike :text)', {
    text: containing(text),
  })
  if (typeof where === 'string') void query.where({ 's.conference_id': where })
  const candidates = searchCandidates(trx, where, 'sponsor', text)
  if (candidates !== null) {
    const keys = candidates.clear('select').select('t.conference_id', 't.id')
    void query.whereIn(['s.conference_id', 's.id'], keys)
  }
  return query.select('s.id', 's.conference_id')
}

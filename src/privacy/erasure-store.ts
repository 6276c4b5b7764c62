import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import type { SealedTable } from '../db/sealed-values.ts'
import { notFound } from '../shared/errors.ts'

/** A row of `erasures`, without what it looks for. */
export type Erasure = {
  id: string
  subject: 'person' | 'sponsor'
  sponsor_id: string | null
  state: 'running' | 'done'
  erased: Record<string, number>
  stripe_customers: string[]
  requested_by: string
  created_at: Date
  finished_at: Date | null
}

/** In what context the terms of an erasure are encrypted. */
export const termsContext = (ref: { conferenceId: string; erasureId: string }) =>
  `erasures.terms:${ref.conferenceId}:${ref.erasureId}`

/** The terms of erasures that are not done. */
export const SEALED_ERASURES: SealedTable = {
  table: 'erasures',
  keys: ['conference_id', 'id'],
  contexts: {
    terms_sealed: ({ conference_id: conferenceId = '', id: erasureId = '' }) =>
      termsContext({ conferenceId, erasureId }),
  },
}

const COLUMNS = [
  'id',
  'subject',
  'sponsor_id',
  'state',
  'erased',
  'stripe_customers',
  'requested_by',
  'created_at',
  'finished_at',
] as const satisfies readonly (keyof Erasure)[]

/** @throws AppError `not_found` */
export async function getErasure(trx: Tx, conferenceId: string, id: string): Promise<Erasure> {
  const row = await trx('erasures')
    .where({ conference_id: conferenceId, id })
    .first<Erasure | undefined>([...COLUMNS])
  if (row === undefined) throw notFound('erasure')
  return row
}

export function listErasures(
  trx: Tx,
  conferenceId: string,
  page: PageQuery,
): Promise<Page<Erasure>> {
  const query = trx('erasures').where({ conference_id: conferenceId })
  return fetchPage(query.select([...COLUMNS]), page)
}

import type { Knex } from 'knex'
import type { z } from 'zod'
import { listConferenceIds } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import {
  fetchPage,
  fromCursor,
  type ListOrder,
  orderOf,
  type Page,
  type PageQuery,
} from '../db/pages.ts'
import type { Read } from '../db/read-replica.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { containing, fetchSearchPage, searchCandidates } from '../db/text-search.ts'
import type { Caller } from '../shared/caller.ts'
import { invalidField } from '../shared/errors.ts'
import { findSponsor, sponsorsByText } from '../sponsors/sponsor-store.ts'
import { findPurchasesOfCode } from '../vouchers/voucher-store.ts'
import type { listPurchasesQuery } from './purchase-schemas.ts'
import { type PurchaseBody, viewPurchases } from './purchase-view.ts'

export type PurchaseFilter = z.infer<typeof listPurchasesQuery> & {
  /** Whether the caller may read voucher codes. Then a whole code in `q` finds its purchase. */
  readsCodes?: boolean
}

/** Who reads a list: a caller of one conference, or an operator who reads that of all conferences. */
export type ListReader = Caller | (Omit<Caller, 'conferenceId'> & { conferenceId: null })

/**
 * The purchases that match the filter, newest first by default; a sponsor sees only its own.
 *
 * @throws AppError `validation_failed` for the sponsor or the ticket type of all conferences.
 */
export async function listPurchases(
  read: Read,
  reader: ListReader,
  filter: PurchaseFilter,
): Promise<Page<PurchaseBody>> {
  const { conferenceId } = reader
  if (conferenceId === null) return listOfAll(read, reader, filter)
  const readPage = async (trx: Tx) => {
    const caller = { ...reader, conferenceId }
    const sponsors = await sponsorsOf(trx, caller, filter)
    const list = filtered(trx, filter).where({ 'p.conference_id': conferenceId })
    for (const sponsor of sponsors) void list.where({ 'p.sponsor_id': sponsor })
    const page = await choosePage(trx, conferenceId, list, filter)
    return { ...page, data: await viewPurchases(trx, caller, idsOf(page.data)) }
  }
  return read((db) => withTenant(db, { conferenceId }, readPage))
}

/** A page is chosen among all conferences, then its purchases are read conference by conference. */
async function listOfAll(
  read: Read,
  reader: Omit<Caller, 'conferenceId'>,
  filter: PurchaseFilter,
): Promise<Page<PurchaseBody>> {
  for (const name of ['sponsor', 'ticket_type'] as const) {
    if (filter[name] === undefined) continue
    throw invalidField(`query/${name}`, 'is allowed only with conference')
  }
  const readPage = async (trx: Tx) => {
    const conferences = filter.q === undefined ? [] : await listConferenceIds(trx)
    // The condition is always true. It is that of the indexes for all conferences.
    const list = filtered(trx, filter).whereRaw(`p.id <> ''`)
    return choosePage(trx, conferences, list, filter)
  }
  const page = await read((db) => withSystem(db, 'list-purchases', readPage))
  const bodies = new Map<string, PurchaseBody>()
  for (const conferenceId of new Set(page.data.map((one) => one.conference_id))) {
    const ids = idsOf(page.data.filter((one) => one.conference_id === conferenceId))
    const views = await read((db) =>
      withTenant(db, { conferenceId }, (trx) =>
        viewPurchases(trx, { ...reader, conferenceId }, ids),
      ),
    )
    for (const body of views) bodies.set(body.id, body)
  }
  return { ...page, data: page.data.flatMap(({ id }) => bodies.get(id) ?? []) }
}

/** A purchase of a page. */
type Chosen = { id: string; conference_id: string }

const CHOSEN = ['p.id', 'p.conference_id']

/** The sponsors that a purchase must be of: the caller, and that of the filter. */
async function sponsorsOf(
  trx: Tx,
  { conferenceId, sponsorId }: Caller,
  { sponsor: named }: PurchaseFilter,
): Promise<string[]> {
  const own = sponsorId === null ? [] : [sponsorId]
  if (named === undefined) return own
  const found = await findSponsor(trx, conferenceId, named)
  return [...own, found?.id ?? named]
}

function filtered(trx: Tx, filter: PurchaseFilter): Knex.QueryBuilder {
  const list = trx('bulk_purchases as p')
  if (filter.status !== undefined) void list.where({ 'p.status': filter.status })
  if (filter.ticket_type !== undefined) void list.where({ 'p.ticket_type_id': filter.ticket_type })
  if (filter.created_after !== undefined) {
    void list.where('p.created_at', '>', filter.created_after)
  }
  if (filter.created_before !== undefined) {
    void list.where('p.created_at', '<', filter.created_before)
  }
  return list
}

const directionOf = ({ sort }: Pick<PurchaseFilter, 'sort'>) => (sort === 'oldest' ? 'asc' : 'desc')

const orderedBy = (filter: Pick<PurchaseFilter, 'sort'>): ListOrder => ({
  at: 'p.created_at',
  id: 'p.id',
  direction: directionOf(filter),
})

/** The conference of a list, or the ids of all conferences. */
type Where = string | readonly string[]

/** The page of a list with the flag and the text of the filter. */
async function choosePage(
  trx: Tx,
  where: Where,
  list: Knex.QueryBuilder,
  filter: PurchaseFilter,
): Promise<Page<Chosen>> {
  const { flag, q } = filter
  if (flag === undefined && q === undefined) {
    return fetchPage<Chosen>(list.select(CHOSEN), filter, orderedBy(filter))
  }
  const flagged = trx('purchase_flags').whereNull('resolved_at')
  if (typeof where === 'string') void flagged.where({ conference_id: where })
  else void flagged.whereRaw(`purchase_id <> ''`)
  if (flag !== undefined && flag !== 'any') void flagged.where({ code: flag })
  if (q !== undefined) {
    const keys = flagged.select('conference_id', 'purchase_id')
    const few = flag === undefined ? list : list.whereIn(['p.conference_id', 'p.id'], keys)
    return searchPurchases(trx, where, few, filter, q)
  }
  // An index has the flagged purchases in this order. One may have several flags.
  const direction = directionOf(filter)
  const order: ListOrder = { at: 'f.purchased_at', id: 'f.purchase_id', direction }
  const once = flagged
    .distinctOn('purchased_at', 'purchase_id')
    .select('purchased_at', 'purchase_id', 'conference_id')
    .orderBy(orderOf({ at: 'purchased_at', id: 'purchase_id', direction }))
  const keys = { 'f.conference_id': 'p.conference_id', 'f.purchase_id': 'p.id' }
  return fetchPage<Chosen>(list.join(once.as('f'), keys).select(CHOSEN), filter, order)
}

const MATCHED = ['p.id', 'p.description', 'p.reference', 'p.payment_intent_id', 'p.sponsor_id']
const TEXT_MATCH = `(p.id ilike :text or p.description ilike :text or p.reference ilike :text
  or p.payment_intent_id ilike :text or p.sponsor_id = any(:sponsors) or p.id = any(:ofCode))`

// The ids of ours have 21 random characters, those of Stripe more.
const WHOLE_ID = /^(bp|pi)_[a-z0-9]{21,}$/i

const idsOf = (rows: readonly { id: string }[]) => rows.map(({ id }) => id)

/** The page of purchases that contain the text, or whose sponsor does. */
async function searchPurchases(
  trx: Tx,
  where: Where,
  list: Knex.QueryBuilder,
  { readsCodes = false, sort, ...page }: PageQuery & Pick<PurchaseFilter, 'readsCodes' | 'sort'>,
  text: string,
): Promise<Page<Chosen>> {
  const order = orderedBy({ sort })
  const [sponsors, ofCode] = await Promise.all([
    sponsorsByText(trx, where, text),
    readsCodes ? findPurchasesOfCode(trx, [where].flat(), text) : [],
  ])
  const candidate = ['p.id', 'p.created_at', 'p.conference_id']
  const ofSponsor = fromCursor(
    list
      .clone()
      .whereRaw('p.conference_id = s.conference_id and p.sponsor_id = s.id')
      .select(candidate),
    page.cursor,
    order,
    page.limit + 1,
  )
  const ofSponsors = trx
    .queryBuilder()
    .from(
      trx.raw(
        'unnest(cast(? as text[]), cast(? as text[])) as s (conference_id, id) cross join lateral ? as own',
        [sponsors.map((sponsor) => sponsor.conference_id), idsOf(sponsors), ofSponsor],
      ),
    )
    .select('own.id', 'own.created_at', 'own.conference_id')
  const byCode = list
    .clone()
    .whereIn(
      ['p.conference_id', 'p.id'],
      ofCode.map(({ id, conference_id }) => [conference_id, id]),
    )
    .select(candidate)
  return fetchSearchPage<Chosen>(
    {
      list,
      alias: 'p',
      columns: CHOSEN,
      order,
      matched: MATCHED,
      match: (query) =>
        query.whereRaw(TEXT_MATCH, {
          text: containing(text),
          sponsors: idsOf(sponsors),
          ofCode: idsOf(ofCode),
        }),
      candidates:
        searchCandidates(trx, where, 'purchase', text)?.union([ofSponsors, byCode]) ?? null,
      isWholeId: ofCode.length > 0 || WHOLE_ID.test(text),
    },
    page,
  )
}

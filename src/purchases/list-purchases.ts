import type { Knex } from 'knex'
import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { fetchPage, fromCursor, type ListOrder, type Page, type PageQuery } from '../db/pages.ts'
import { containing, fetchSearchPage, searchCandidates } from '../db/text-search.ts'
import type { Caller } from '../shared/caller.ts'
import { findSponsor, sponsorIdsByText } from '../sponsors/sponsor-store.ts'
import { findPurchaseOfCode } from '../vouchers/voucher-store.ts'
import type { listPurchasesQuery } from './purchase-schemas.ts'
import { type PurchaseBody, viewPurchases } from './purchase-view.ts'

export type PurchaseFilter = z.infer<typeof listPurchasesQuery> & {
  /** Whether the caller may read voucher codes. Then a whole code in `q` finds its purchase. */
  readsCodes?: boolean
}

type PurchaseId = { id: string }

/** The purchases that match the filter, newest first; a sponsor sees only its own. */
export async function listPurchases(
  trx: Tx,
  caller: Caller,
  filter: PurchaseFilter,
): Promise<Page<PurchaseBody>> {
  const { conferenceId } = caller
  const list = trx('bulk_purchases as p').where({ 'p.conference_id': conferenceId })
  if (caller.sponsorId !== null) void list.where({ 'p.sponsor_id': caller.sponsorId })
  if (filter.status !== undefined) void list.where({ 'p.status': filter.status })
  if (filter.ticket_type !== undefined) void list.where({ 'p.ticket_type_id': filter.ticket_type })
  if (filter.created_after !== undefined) {
    void list.where('p.created_at', '>', filter.created_after)
  }
  if (filter.created_before !== undefined) {
    void list.where('p.created_at', '<', filter.created_before)
  }
  if (filter.sponsor !== undefined) {
    const sponsor = await findSponsor(trx, conferenceId, filter.sponsor)
    void list.where({ 'p.sponsor_id': sponsor?.id ?? filter.sponsor })
  }
  const page = await fetchPurchases(trx, conferenceId, list, filter)
  const ids = page.data.map(({ id }) => id)
  return { ...page, data: await viewPurchases(trx, caller, ids) }
}

const NEWEST: ListOrder = { at: 'p.created_at', id: 'p.id' }

/** The page of a list with the flag and the text of the filter. */
async function fetchPurchases(
  trx: Tx,
  conferenceId: string,
  list: Knex.QueryBuilder,
  filter: PurchaseFilter,
): Promise<Page<PurchaseId>> {
  const { flag, q } = filter
  if (flag === undefined && q === undefined) {
    return fetchPage<PurchaseId>(list.select('p.id'), filter, NEWEST)
  }
  const flagged = trx('purchase_flags')
    .where({ conference_id: conferenceId, ...(flag === 'any' ? {} : { code: flag }) })
    .whereNull('resolved_at')
  if (q !== undefined) {
    const few = flag === undefined ? list : list.whereIn('p.id', flagged.select('purchase_id'))
    return searchPurchases(trx, conferenceId, few, filter, q)
  }
  // An index has the flagged purchases in this order. One may have several flags.
  const order = { at: 'f.purchased_at', id: 'f.purchase_id' }
  const once = flagged.distinct('purchased_at', 'purchase_id').orderBy([
    { column: 'purchased_at', order: 'desc' },
    { column: 'purchase_id', order: 'desc' },
  ])
  return fetchPage<PurchaseId>(
    list.join(once.as('f'), 'f.purchase_id', 'p.id').select('p.id'),
    filter,
    order,
  )
}

const TEXT_MATCH = `(p.id ilike :text or p.description ilike :text or p.reference ilike :text
  or p.payment_intent_id ilike :text or p.sponsor_id = any(:sponsors) or p.id = :ofCode)`

// The ids of ours have 21 random characters, those of Stripe more.
const WHOLE_ID = /^(bp|pi)_[a-z0-9]{21,}$/i

/** The page of purchases that contain the text, or whose sponsor does. */
async function searchPurchases(
  trx: Tx,
  conferenceId: string,
  list: Knex.QueryBuilder,
  { readsCodes, ...page }: PageQuery & Pick<PurchaseFilter, 'readsCodes'>,
  text: string,
): Promise<Page<PurchaseId>> {
  const [sponsors, ofCode] = await Promise.all([
    sponsorIdsByText(trx, conferenceId, text),
    readsCodes ? findPurchaseOfCode(trx, conferenceId, text) : null,
  ])
  const ofSponsor = fromCursor(
    list.clone().whereRaw('p.sponsor_id = s.id').select('p.id', 'p.created_at'),
    page.cursor,
    NEWEST,
    page.limit + 1,
  )
  const ofSponsors = trx
    .queryBuilder()
    .from(
      trx.raw('unnest(cast(? as text[])) as s (id) cross join lateral ? as own', [
        sponsors,
        ofSponsor,
      ]),
    )
    .select('own.id', 'own.created_at')
  const byCode = list.clone().where({ 'p.id': ofCode }).select('p.id', 'p.created_at')
  return fetchSearchPage<PurchaseId>(
    {
      list,
      alias: 'p',
      columns: ['p.id'],
      order: NEWEST,
      match: (query) => query.whereRaw(TEXT_MATCH, { text: containing(text), sponsors, ofCode }),
      candidates:
        searchCandidates(trx, conferenceId, 'purchase', text)?.union([ofSponsors, byCode]) ?? null,
      isWholeId: ofCode !== null || WHOLE_ID.test(text),
    },
    page,
  )
}

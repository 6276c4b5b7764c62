import type { Knex } from 'knex'
import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import type { Caller } from '../http/caller.ts'
import { fetchPage, type Page } from '../http/pages.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import type { listPurchasesQuery } from './purchase-schemas.ts'
import { PURCHASE_COLUMNS, type PurchaseRow, toPurchase } from './purchase-store.ts'
import { type PurchaseBody, viewPurchases } from './purchase-view.ts'

// `%` and `_` in what a person typed are not wildcards.
const like = (text: string) => `%${text.replace(/[\\%_]/g, '\\$&')}%`

type Filter = z.infer<typeof listPurchasesQuery>

function flagged(trx: Tx, conferenceId: string, flag: Filter['flag']): Knex.QueryBuilder {
  const query = trx('purchase_flags')
    .select('purchase_id')
    .where({ conference_id: conferenceId })
    .whereNull('resolved_at')
  return flag === 'any' ? query : query.where({ code: flag })
}

// One condition over what people remember of a purchase; the sub-select keeps it one row each.
const TEXT_MATCH = `(id ilike :text or description ilike :text or reference ilike :text
  or payment_intent_id ilike :text or sponsor_id in (
    select s.id from sponsors s where s.conference_id = :conference
      and (s.name ilike :text or s.slug ilike :text)))`

/** Purchases by filter, newest first; a sponsor sees only its own. */
export async function listPurchases(
  trx: Tx,
  caller: Caller,
  filter: Filter,
): Promise<Page<PurchaseBody>> {
  const { conferenceId } = caller
  const query = trx('bulk_purchases')
    .select([...PURCHASE_COLUMNS])
    .where({ conference_id: conferenceId })
  if (caller.sponsorId !== null) void query.where({ sponsor_id: caller.sponsorId })
  if (filter.status !== undefined) void query.where({ status: filter.status })
  if (filter.ticket_type !== undefined) void query.where({ ticket_type_id: filter.ticket_type })
  if (filter.created_after !== undefined) void query.where('created_at', '>', filter.created_after)
  if (filter.created_before !== undefined) {
    void query.where('created_at', '<', filter.created_before)
  }
  if (filter.sponsor !== undefined) {
    const sponsor = await findSponsor(trx, conferenceId, filter.sponsor)
    void query.where({ sponsor_id: sponsor?.id ?? filter.sponsor })
  }
  if (filter.flag !== undefined) {
    void query.whereIn('id', flagged(trx, conferenceId, filter.flag))
  }
  if (filter.q !== undefined) {
    void query.whereRaw(TEXT_MATCH, { text: like(filter.q), conference: conferenceId })
  }
  const page = await fetchPage<PurchaseRow>(query, filter)
  return { ...page, data: await viewPurchases(trx, caller, page.data.map(toPurchase)) }
}

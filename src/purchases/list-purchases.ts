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

/** Purchases by filter, newest first; a sponsor sees only its own. */
export async function listPurchases(
  trx: Tx,
  caller: Caller,
  filter: z.infer<typeof listPurchasesQuery>,
): Promise<Page<PurchaseBody>> {
  const query = trx('bulk_purchases')
    .select([...PURCHASE_COLUMNS])
    .where({ conference_id: caller.conferenceId })
  if (caller.sponsorId !== null) query.andWhere({ sponsor_id: caller.sponsorId })
  if (filter.status !== undefined) query.andWhere({ status: filter.status })
  if (filter.ticket_type !== undefined) query.andWhere({ ticket_type_id: filter.ticket_type })
  if (filter.created_after !== undefined) query.andWhere('created_at', '>', filter.created_after)
  if (filter.created_before !== undefined) query.andWhere('created_at', '<', filter.created_before)
  if (filter.sponsor !== undefined) {
    const sponsor = await findSponsor(trx, caller.conferenceId, filter.sponsor)
    query.andWhere({ sponsor_id: sponsor?.id ?? filter.sponsor })
  }
  if (filter.flag !== undefined) {
    const flagged = trx('purchase_flags')
      .select('purchase_id')
      .where({ conference_id: caller.conferenceId })
      .whereNull('resolved_at')
    if (filter.flag !== 'any') flagged.andWhere({ code: filter.flag })
    query.whereIn('id', flagged)
  }
  if (filter.q !== undefined) {
    const text = like(filter.q)
    query.andWhere((any) =>
      any
        .whereILike('id', text)
        .orWhereILike('description', text)
        .orWhereILike('reference', text)
        .orWhereILike('payment_intent_id', text)
        .orWhereIn(
          'sponsor_id',
          trx('sponsors')
            .select('id')
            .where({ conference_id: caller.conferenceId })
            .andWhere((sponsor) => sponsor.whereILike('name', text).orWhereILike('slug', text)),
        ),
    )
  }
  const page = await fetchPage<PurchaseRow>(query, filter)
  return { ...page, data: await viewPurchases(trx, caller, page.data.map(toPurchase)) }
}

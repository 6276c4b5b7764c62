import type { Knex } from 'knex'
import type { z } from 'zod'
import { visibleName } from '../access/actor-names.ts'
import type { Tx } from '../db/connect.ts'
import { fetchPage, fromCursor, type ListOrder, type Page, type PageQuery } from '../db/pages.ts'
import { containing, fetchSearchPage, searchCandidates } from '../db/text-search.ts'
import { NO_RECORDS, type PaymentAttempt } from '../payments/payment-records.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { toTimestamp } from '../shared/time.ts'
import { findSponsor, sponsorIdsByText } from '../sponsors/sponsor-store.ts'
import { NO_VOUCHERS, type VoucherCounts } from '../vouchers/voucher-counts.ts'
import { toVoucherConfig } from '../vouchers/voucher-terms.ts'
import type { BulkPurchase, PurchaseAggregate } from './purchase-aggregate.ts'
import { allowedActions } from './purchase-aggregate.ts'
import type { listPurchasesQuery, purchaseSchema } from './purchase-schemas.ts'
import { loadViews, type PurchaseNames } from './purchase-store.ts'

export type PurchaseBody = z.infer<typeof purchaseSchema>

function toCheckout(attempt: PaymentAttempt | undefined): PurchaseBody['checkout'] {
  if (attempt?.kind !== 'checkout') return null
  return {
    session_id: attempt.sessionId,
    url: attempt.state === 'open' ? attempt.url : null,
    expires_at: toTimestamp(attempt.expiresAt),
    attempt: attempt.attempt,
  }
}

function toBody(
  aggregate: PurchaseAggregate,
  vouchers: VoucherCounts,
  names: PurchaseNames,
  isSponsor: boolean,
): PurchaseBody {
  const flags = aggregate.flags.filter(({ isOpen }) => isOpen)
  const { purchase } = aggregate
  return {
    id: purchase.id,
    object: 'bulk_purchase',
    conference: purchase.conferenceId,
    sponsor: purchase.sponsorId,
    status: purchase.status,
    quantity: purchase.quantity,
    unit_amount: purchase.unitAmount,
    total_amount: purchase.totalAmount,
    amount_received: purchase.amountReceived,
    amount_refunded: purchase.amountRefunded,
    currency: purchase.currency,
    description: purchase.description,
    reference: purchase.reference,
    ticket_type: purchase.ticketTypeId,
    add_on: purchase.addOnId,
    voucher_config: toVoucherConfig(purchase.terms),
    checkout: toCheckout(aggregate.records.attempts.at(-1)),
    payment_intent: purchase.paymentIntentId,
    failure: purchase.failure,
    vouchers,
    flags: flags.map(({ code, detail, raisedAt }) => ({
      code,
      detail,
      raised_at: toTimestamp(new Date(raisedAt)),
    })),
    allowed_actions: allowedActions(aggregate, isSponsor, flags.length > 0),
    requested_by: purchase.requestedBy,
    requested_by_name: visibleName(names.requestedBy, isSponsor),
    approved_by: purchase.approvedBy,
    approved_by_name: visibleName(names.approvedBy, isSponsor),
    created_at: toTimestamp(purchase.createdAt),
    updated_at: toTimestamp(purchase.updatedAt),
    paid_at: toTimestamp(purchase.paidAt),
    refunded_at: toTimestamp(purchase.refundedAt),
  }
}

/** Purchases as the API shows them, in one statement for any number of purchases. */
async function viewPurchases(
  trx: Tx,
  caller: Caller,
  ids: readonly string[],
): Promise<PurchaseBody[]> {
  const found = await loadViews(trx, caller.conferenceId, ids)
  const byId = new Map(found.map((view) => [view.purchase.id, view]))
  return ids.flatMap((id) => {
    const view = byId.get(id)
    if (view === undefined) return []
    return [toBody(view, view.vouchers ?? NO_VOUCHERS, view.names, caller.sponsorId !== null)]
  })
}

/** A purchase that was just created: it has no attempts, payments, vouchers or flags to load. */
export function viewNewPurchase(
  caller: Caller,
  { purchase, names }: { purchase: BulkPurchase; names: PurchaseNames },
): PurchaseBody {
  const aggregate = { purchase, records: NO_RECORDS, flags: [], target: null }
  return toBody(aggregate, NO_VOUCHERS, names, caller.sponsorId !== null)
}

/** One purchase. @throws AppError `not_found`, also for another sponsor's purchase. */
export async function viewPurchase(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
): Promise<PurchaseBody> {
  const [body] = await viewPurchases(trx, caller, [purchaseId])
  const isForeign = caller.sponsorId !== null && body?.sponsor !== caller.sponsorId
  if (body === undefined || isForeign) throw notFound('purchase')
  return body
}

export type PurchaseFilter = z.infer<typeof listPurchasesQuery>

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
  or p.payment_intent_id ilike :text or p.sponsor_id = any(:sponsors))`

// The ids of ours have 21 random characters, those of Stripe more.
const WHOLE_ID = /^(bp|pi)_[a-z0-9]{21,}$/i

/** The page of purchases that contain the text, or whose sponsor does. */
async function searchPurchases(
  trx: Tx,
  conferenceId: string,
  list: Knex.QueryBuilder,
  page: PageQuery,
  text: string,
): Promise<Page<PurchaseId>> {
  const sponsors = await sponsorIdsByText(trx, conferenceId, text)
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
  return fetchSearchPage<PurchaseId>(
    {
      list,
      alias: 'p',
      columns: ['p.id'],
      order: NEWEST,
      match: (query) => query.whereRaw(TEXT_MATCH, { text: containing(text), sponsors }),
      candidates: searchCandidates(trx, conferenceId, 'purchase', text)?.union(ofSponsors) ?? null,
      isWholeId: WHOLE_ID.test(text),
    },
    page,
  )
}

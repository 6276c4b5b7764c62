import type { Knex } from 'knex'
import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page } from '../db/pages.ts'
import { NO_RECORDS, type PaymentAttempt } from '../payments/payment-records.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { toTimestamp } from '../shared/time.ts'
import { findSponsor, SPONSOR_IDS_BY_TEXT } from '../sponsors/sponsor-store.ts'
import { countVouchers, NO_VOUCHERS, type VoucherCounts } from '../vouchers/voucher-counts.ts'
import { toVoucherConfig } from '../vouchers/voucher-terms.ts'
import type { BulkPurchase, PurchaseAggregate } from './purchase-aggregate.ts'
import { allowedActions } from './purchase-aggregate.ts'
import type { listPurchasesQuery, purchaseSchema, transitionSchema } from './purchase-schemas.ts'
import { loadAggregates, type TransitionRow } from './purchase-store.ts'

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
    approved_by: purchase.approvedBy,
    created_at: toTimestamp(purchase.createdAt),
    updated_at: toTimestamp(purchase.updatedAt),
    paid_at: toTimestamp(purchase.paidAt),
    refunded_at: toTimestamp(purchase.refundedAt),
  }
}

/** Purchases as the API shows them, in one round trip for any number of purchases. */
async function viewPurchases(
  trx: Tx,
  caller: Caller,
  ids: readonly string[],
): Promise<PurchaseBody[]> {
  if (ids.length === 0) return []
  const [aggregates, counts] = await Promise.all([
    loadAggregates(trx, caller.conferenceId, ids),
    countVouchers(trx, caller.conferenceId, ids),
  ])
  const byId = new Map(aggregates.map((aggregate) => [aggregate.purchase.id, aggregate]))
  return ids.flatMap((id) => {
    const aggregate = byId.get(id)
    if (aggregate === undefined) return []
    return [toBody(aggregate, counts.get(id) ?? NO_VOUCHERS, caller.sponsorId !== null)]
  })
}

/** A purchase that was just created: it has no attempts, payments, vouchers or flags to load. */
export function viewNewPurchase(caller: Caller, purchase: BulkPurchase): PurchaseBody {
  const aggregate = { purchase, records: NO_RECORDS, flags: [], target: null }
  return toBody(aggregate, NO_VOUCHERS, caller.sponsorId !== null)
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

// `%` and `_` in a search text are not wildcards.
const like = (text: string) => `%${text.replace(/[\\%_]/g, '\\$&')}%`

export type PurchaseFilter = z.infer<typeof listPurchasesQuery>

function flagged(trx: Tx, conferenceId: string, flag: PurchaseFilter['flag']): Knex.QueryBuilder {
  const query = trx('purchase_flags')
    .select('purchase_id')
    .where({ conference_id: conferenceId })
    .whereNull('resolved_at')
  return flag === 'any' ? query : query.where({ code: flag })
}

// A sub-select and not a join: each purchase must be one row.
const TEXT_MATCH = `(id ilike :text or description ilike :text or reference ilike :text
  or payment_intent_id ilike :text or sponsor_id in (${SPONSOR_IDS_BY_TEXT}))`

/** The purchases that match the filter, newest first; a sponsor sees only its own. */
export async function listPurchases(
  trx: Tx,
  caller: Caller,
  filter: PurchaseFilter,
): Promise<Page<PurchaseBody>> {
  const { conferenceId } = caller
  const query = trx('bulk_purchases')
    .select('id', 'created_at')
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
  const page = await fetchPage<{ id: string; created_at: Date }>(query, filter)
  const ids = page.data.map(({ id }) => id)
  return { ...page, data: await viewPurchases(trx, caller, ids) }
}

export type TransitionBody = z.infer<typeof transitionSchema>

/** A transition as the API and the CLI show it. */
export function toTransitionBody(row: TransitionRow): TransitionBody {
  return {
    id: String(row.id),
    object: 'purchase_transition',
    from: row.from_status,
    to: row.to_status,
    event: row.event,
    cause: row.cause,
    actor: { kind: row.actor_kind, id: row.actor_id },
    created_at: toTimestamp(row.created_at),
  }
}

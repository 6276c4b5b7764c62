import { type NamedActor, namedActorOf } from '../access/actor-names.ts'
import { itemNameOf } from '../catalog/catalog-items.ts'
import { DATABASE_NOW_SQL, type Db, type Tx } from '../db/connect.ts'
import { PREPARED, runInOrder } from '../db/pipeline.ts'
import { tenantStatements, withTenant } from '../db/tenant-scope.ts'
import type { TakenTicket } from '../payments/fetch-owned-snapshot.ts'
import {
  type PaymentRecordsRow,
  paymentRecordsOf,
  purchaseIdOfPayment,
  toPaymentRecords,
} from '../payments/payment-store.ts'
import { notFound } from '../shared/errors.ts'
import { sponsorNameOf } from '../sponsors/sponsor-store.ts'
import { voucherTargetOf } from '../vouchers/freeze-vouchers.ts'
import { type VoucherCounts, voucherCountsOf } from '../vouchers/voucher-counts.ts'
import type { VoucherTerms } from '../vouchers/voucher-terms.ts'
import type {
  BulkPurchase,
  PurchaseAggregate,
  PurchaseRef,
  RaisedFlag,
  StoredTarget,
} from './purchase-aggregate.ts'
import type { PurchaseStatus } from './purchase-machine.ts'

type PurchaseRow = {
  conference_id: string
  id: string
  sponsor_id: string | null
  status: PurchaseStatus
  quantity: number
  unit_amount: number
  total_amount: number
  currency: string
  price_source: 'catalogue' | 'staff'
  description: string
  reference: string | null
  ticket_type_id: string | null
  add_on_id: string | null
  voucher_type: VoucherTerms['voucherType']
  discount_value: number
  max_uses: number
  valid_from: Date | null
  valid_until: Date | null
  unlocks_hidden_tickets: boolean
  code_prefix: string
  amount_received: number
  amount_refunded: number
  payment_intent_id: string | null
  accepted_payment_intent_id: string | null
  accepted_amount: number | null
  failure_code: string | null
  failure_message: string | null
  reconcile_ticket: number
  applied_ticket: number
  reconciled_at: Date | null
  requested_by: string
  approved_by: string | null
  created_at: Date
  updated_at: Date
  paid_at: Date | null
  refunded_at: Date | null
}

const PURCHASE_COLUMNS = [
  'conference_id',
  'id',
  'sponsor_id',
  'status',
  'quantity',
  'unit_amount',
  'total_amount',
  'currency',
  'price_source',
  'description',
  'reference',
  'ticket_type_id',
  'add_on_id',
  'voucher_type',
  'discount_value',
  'max_uses',
  'valid_from',
  'valid_until',
  'unlocks_hidden_tickets',
  'code_prefix',
  'amount_received',
  'amount_refunded',
  'payment_intent_id',
  'accepted_payment_intent_id',
  'accepted_amount',
  'failure_code',
  'failure_message',
  'reconcile_ticket',
  'applied_ticket',
  'reconciled_at',
  'requested_by',
  'approved_by',
  'created_at',
  'updated_at',
  'paid_at',
  'refunded_at',
] as const satisfies readonly (keyof PurchaseRow)[]

function acceptedOf(row: PurchaseRow): BulkPurchase['accepted'] {
  if (row.accepted_payment_intent_id === null || row.accepted_amount === null) return null
  return { paymentIntentId: row.accepted_payment_intent_id, amount: row.accepted_amount }
}

function failureOf(row: PurchaseRow): BulkPurchase['failure'] {
  if (row.failure_code === null) return null
  return { code: row.failure_code, message: row.failure_message ?? '' }
}

function toPurchase(row: PurchaseRow): BulkPurchase {
  return {
    conferenceId: row.conference_id,
    id: row.id,
    sponsorId: row.sponsor_id,
    status: row.status,
    quantity: row.quantity,
    unitAmount: row.unit_amount,
    totalAmount: row.total_amount,
    currency: row.currency,
    priceSource: row.price_source,
    description: row.description,
    reference: row.reference,
    ticketTypeId: row.ticket_type_id,
    addOnId: row.add_on_id,
    terms: {
      voucherType: row.voucher_type,
      discountValue: row.discount_value,
      maxUses: row.max_uses,
      validFrom: row.valid_from,
      validUntil: row.valid_until,
      unlocksHiddenTickets: row.unlocks_hidden_tickets,
      prefix: row.code_prefix,
    },
    amountReceived: row.amount_received,
    amountRefunded: row.amount_refunded,
    paymentIntentId: row.payment_intent_id,
    accepted: acceptedOf(row),
    failure: failureOf(row),
    reconcileTicket: row.reconcile_ticket,
    appliedTicket: row.applied_ticket,
    reconciledAt: row.reconciled_at,
    requestedBy: row.requested_by,
    approvedBy: row.approved_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    paidAt: row.paid_at,
    refundedAt: row.refunded_at,
  }
}

export function termsColumns(terms: VoucherTerms) {
  return {
    voucher_type: terms.voucherType,
    discount_value: terms.discountValue,
    max_uses: terms.maxUses,
    valid_from: terms.validFrom,
    valid_until: terms.validUntil,
    unlocks_hidden_tickets: terms.unlocksHiddenTickets,
    code_prefix: terms.prefix,
  }
}

type AggregateRow = PurchaseRow & {
  records: PaymentRecordsRow
  flags: RaisedFlag[]
  target: StoredTarget | null
}

/** SQL: purchases `p` with everything that decisions about them depend on, in one statement. */
const aggregates = (more = '') => `
  select ${PURCHASE_COLUMNS.map((column) => `p.${column}`).join(', ')},
    ${paymentRecordsOf('p')} as records,
    (select coalesce(json_agg(json_build_object('code', f.code, 'fact', f.fact, 'detail', f.detail,
        'raisedAt', f.raised_at, 'isOpen', f.resolved_at is null) order by f.raised_at, f.code, f.fact), '[]')
      from purchase_flags f
      where f.conference_id = p.conference_id and f.purchase_id = p.id) as flags,
    ${voucherTargetOf('p')} as target${more}
  from bulk_purchases p
  where p.conference_id = ?`

function toAggregate({ records, flags, target, ...row }: AggregateRow): PurchaseAggregate {
  return { purchase: toPurchase(row), records: toPaymentRecords(records), flags, target }
}

/** Of one purchase. With a list of one id, Postgres would plan it each time, which takes 0.8 ms. */
const aggregateOf = (trx: Tx, { conferenceId: conference, purchaseId: id }: PurchaseRef) =>
  trx
    .raw<{ rows: AggregateRow[] }>(`${aggregates()} and p.id = ?`, [conference, id])
    .options(PREPARED)

/** The names of what a purchase refers to by id. */
export type PurchaseNames = {
  sponsor: string | null
  /** Of the ticket type or the add-on. */
  item: string | null
  requestedBy: NamedActor | null
  approvedBy: NamedActor | null
}

const NAMES = `json_build_object('sponsor', ${sponsorNameOf('p')}, 'item', ${itemNameOf('p')},
  'requestedBy', ${namedActorOf('p.requested_by')}, 'approvedBy', ${namedActorOf('p.approved_by')})`

type PurchaseView = PurchaseAggregate & { vouchers: VoucherCounts | null; names: PurchaseNames }
const VIEWS = aggregates(`, ${voucherCountsOf('p')} as vouchers, ${NAMES} as names`)

/** The purchases of these ids, in no order. */
export async function loadViews(
  trx: Tx,
  conference: string,
  ids: readonly string[],
): Promise<PurchaseView[]> {
  if (ids.length === 0) return []
  const [which, value] = ids.length === 1 ? ['= ?', ids[0] ?? ''] : ['= any(?)', [...ids]]
  const statement = trx.raw(`${VIEWS} and p.id ${which}`, [conference, value])
  const { rows } = (await statement.options(PREPARED)) as { rows: (AggregateRow & PurchaseView)[] }
  return rows.map(({ vouchers, names, ...row }) => ({ ...toAggregate(row), vouchers, names }))
}

function oneOf([row]: AggregateRow[], sponsorId: string | null): PurchaseAggregate {
  if (row === undefined || (sponsorId !== null && row.sponsor_id !== sponsorId)) {
    throw notFound('purchase')
  }
  return toAggregate(row)
}

/**
 * The purchase without a lock.
 *
 * @throws AppError `not_found`, also for another sponsor's purchase.
 */
export async function getAggregate(
  trx: Tx,
  ref: PurchaseRef,
  sponsorId: string | null = null,
): Promise<PurchaseAggregate> {
  const { rows } = await aggregateOf(trx, ref)
  return oneOf(rows, sponsorId)
}

/**
 * Locks the purchase until the transaction ends, then loads it: in one statement, the rows of its
 * payments would be those from before the wait for the lock. Every change of a purchase begins with this.
 *
 * @throws AppError `not_found`, also for another sponsor's purchase.
 */
export async function lockAggregate(
  trx: Tx,
  ref: PurchaseRef,
  sponsorId: string | null = null,
): Promise<PurchaseAggregate> {
  const lock = trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .forUpdate()
    .select('id')
  const load = aggregateOf(trx, ref)
  const [, rows] = await runInOrder<[unknown[], AggregateRow[]]>(trx, [lock, load])
  return oneOf(rows, sponsorId)
}

/** `lockAggregate` in a transaction of its own. */
export function withPurchase<T>(
  db: Db,
  ref: PurchaseRef,
  work: (trx: Tx, purchase: PurchaseAggregate) => Promise<T>,
): Promise<T> {
  return withTenant(db, ref, async (trx) => work(trx, await lockAggregate(trx, ref)))
}

/**
 * Takes the next ticket of a reconcile, in its own commit, then reads what is stored about its payments:
 * in one statement, they would be those from before the wait for the lock. Null: no such purchase.
 */
export async function takeReconcileTicket(db: Db, ref: PurchaseRef): Promise<TakenTicket | null> {
  const purchase = () =>
    db('bulk_purchases as p').where({ 'p.conference_id': ref.conferenceId, 'p.id': ref.purchaseId })
  const [[taken], [found]] = await tenantStatements<
    [Omit<TakenTicket, 'records'>[], { records: PaymentRecordsRow }[]]
  >(db, ref, [
    purchase()
      .increment('reconcile_ticket', 1)
      .returning(['p.reconcile_ticket as ticket', db.raw(`${DATABASE_NOW_SQL} as "takenAt"`)]),
    purchase().select(db.raw(`${paymentRecordsOf('p')} as records`)),
  ])
  if (taken === undefined || found === undefined) return null
  return { ...taken, records: toPaymentRecords(found.records) }
}

/** Whether the purchase is PROCESSING and was not changed or reconciled for this long. */
export async function isUnreconciledFor(
  trx: Tx,
  ref: PurchaseRef,
  seconds: number,
): Promise<boolean> {
  const stale = await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId, status: 'PROCESSING' })
    .whereRaw(`greatest(updated_at, reconciled_at) < now() - make_interval(secs => ?)`, [seconds])
    .first('id')
  return stale !== undefined
}

export type NewPurchase = Omit<
  PurchaseRow,
  | 'status'
  | 'total_amount'
  | 'amount_received'
  | 'amount_refunded'
  | 'payment_intent_id'
  | 'accepted_payment_intent_id'
  | 'accepted_amount'
  | 'failure_code'
  | 'failure_message'
  | 'reconcile_ticket'
  | 'applied_ticket'
  | 'reconciled_at'
  | 'approved_by'
  | 'created_at'
  | 'updated_at'
  | 'paid_at'
  | 'refunded_at'
>

export async function insertPurchase(trx: Tx, row: NewPurchase): Promise<BulkPurchase> {
  const [inserted] = await trx('bulk_purchases')
    .options(PREPARED)
    .insert({ ...row, total_amount: row.quantity * row.unit_amount })
    .returning<PurchaseRow[]>([...PURCHASE_COLUMNS])
  if (inserted === undefined) throw new Error('The insert returned no row')
  return toPurchase(inserted)
}

/** Updates the columns of an order that was not paid yet. Only change-purchase.ts writes the status. */
export async function updateOrder(
  trx: Tx,
  ref: PurchaseRef,
  changes: Partial<NewPurchase & Pick<PurchaseRow, 'total_amount'>>,
): Promise<void> {
  await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .update({ ...changes, updated_at: trx.fn.now() })
}

/** Asserts that there is such a purchase. @throws AppError `not_found`, also for another sponsor's purchase. */
export async function assertPurchase(
  trx: Tx,
  ref: PurchaseRef,
  sponsorId: string | null = null,
): Promise<void> {
  const query = trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .options(PREPARED)
  if (sponsorId !== null) void query.andWhere({ sponsor_id: sponsorId })
  if ((await query.first('id')) === undefined) throw notFound('purchase')
}

/**
 * SQL for the id of the purchase that a Stripe event is about, or null: by the purchase id, the
 * Checkout session or the payment intent that the event names.
 *
 * @param event - alias of a row with conference_id, purchase_id, object_id and payment_intent_id.
 */
export const purchaseIdOfEvent = (event: string) => `coalesce(
  (select p.id from bulk_purchases p
    where p.conference_id = ${event}.conference_id and p.id = ${event}.purchase_id),
  ${purchaseIdOfPayment(event)})`

/** Whether the conference has any purchase. */
export async function hasPurchases(trx: Tx, conferenceId: string): Promise<boolean> {
  const row = await trx('bulk_purchases').where({ conference_id: conferenceId }).first('id')
  return row !== undefined
}

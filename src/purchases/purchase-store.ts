import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import type { Actor } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import type { VoucherTerms } from '../vouchers/voucher-terms.ts'
import type { PurchaseStatus } from './purchase-machine.ts'

/** A row of bulk_purchases. Amounts are integer minor units of `currency`. */
export type BulkPurchase = {
  conferenceId: string
  id: string
  sponsorId: string | null
  status: PurchaseStatus
  quantity: number
  unitAmount: number
  totalAmount: number
  currency: string
  description: string
  reference: string | null
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  amountReceived: number
  amountRefunded: number
  /** The payment that made it PAID. */
  paymentIntentId: string | null
  /** A payment of another amount that staff accepted, and that amount. */
  accepted: { paymentIntentId: string; amount: number } | null
  failure: { code: string; message: string } | null
  reconcileTicket: number
  appliedTicket: number
  reconciledAt: Date | null
  requestedBy: string
  approvedBy: string | null
  createdAt: Date
  updatedAt: Date
  paidAt: Date | null
  refundedAt: Date | null
}

export type PurchaseRow = {
  conference_id: string
  id: string
  sponsor_id: string | null
  status: PurchaseStatus
  quantity: number
  unit_amount: number
  total_amount: number
  currency: string
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

export const PURCHASE_COLUMNS = [
  'conference_id',
  'id',
  'sponsor_id',
  'status',
  'quantity',
  'unit_amount',
  'total_amount',
  'currency',
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

export function toPurchase(row: PurchaseRow): BulkPurchase {
  return {
    conferenceId: row.conference_id,
    id: row.id,
    sponsorId: row.sponsor_id,
    status: row.status,
    quantity: row.quantity,
    unitAmount: row.unit_amount,
    totalAmount: row.total_amount,
    currency: row.currency,
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

/** The purchase, or null. With `sponsorId`, another sponsor's purchase is null too. */
export async function findPurchase(
  trx: Tx,
  ref: PurchaseRef,
  sponsorId: string | null = null,
): Promise<BulkPurchase | null> {
  const query = trx<PurchaseRow>('bulk_purchases').where({
    conference_id: ref.conferenceId,
    id: ref.purchaseId,
  })
  if (sponsorId !== null) void query.andWhere({ sponsor_id: sponsorId })
  const row = await query.first([...PURCHASE_COLUMNS])
  return row === undefined ? null : toPurchase(row)
}

/**
 * Locks the purchase until the transaction ends. Every change of a purchase holds this lock.
 *
 * @throws AppError `not_found`, also for another sponsor's purchase.
 */
export async function lockPurchase(
  trx: Tx,
  ref: PurchaseRef,
  sponsorId: string | null = null,
): Promise<BulkPurchase> {
  const query = trx<PurchaseRow>('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .forUpdate()
  if (sponsorId !== null) void query.andWhere({ sponsor_id: sponsorId })
  const row = await query.first([...PURCHASE_COLUMNS])
  if (row === undefined) throw notFound('purchase')
  return toPurchase(row)
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
    .insert({ ...row, total_amount: row.quantity * row.unit_amount })
    .returning<PurchaseRow[]>([...PURCHASE_COLUMNS])
  if (inserted === undefined) throw new Error('The insert returned no row')
  return toPurchase(inserted)
}

/** Updates any column but `status`, which only transition-purchase.ts writes. */
export async function updatePurchase(
  trx: Tx,
  ref: PurchaseRef,
  changes: Partial<Omit<PurchaseRow, 'conference_id' | 'id' | 'status' | 'created_at'>>,
): Promise<void> {
  await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .update({ ...changes, updated_at: trx.fn.now() })
}

/** Why something happened: the event, request or timer that caused it, and who is responsible. */
export type Cause = { actor: Actor; cause: string }

export type TransitionRow = {
  id: number
  from_status: PurchaseStatus
  to_status: PurchaseStatus
  event: string
  cause: string
  actor_kind: Actor['kind']
  actor_id: string
  created_at: Date
}

/** Appends a transition to the history. The table's privileges allow only inserts. */
export async function appendTransition(
  trx: Tx,
  ref: PurchaseRef,
  transition: { from: PurchaseStatus; to: PurchaseStatus; event: string },
  { actor, cause }: Cause,
): Promise<void> {
  await trx('purchase_transitions').insert({
    conference_id: ref.conferenceId,
    purchase_id: ref.purchaseId,
    from_status: transition.from,
    to_status: transition.to,
    event: transition.event,
    cause,
    actor_kind: actor.kind,
    actor_id: actor.id,
  })
}

/** The transitions of a purchase, newest first. */
export function listTransitions(
  trx: Tx,
  ref: PurchaseRef,
  page: PageQuery,
): Promise<Page<TransitionRow>> {
  const query = trx('purchase_transitions')
    .where({ conference_id: ref.conferenceId, purchase_id: ref.purchaseId })
    .select(
      'id',
      'from_status',
      'to_status',
      'event',
      'cause',
      'actor_kind',
      'actor_id',
      'created_at',
    )
  return fetchPage(query, page)
}

/** Whether the conference has any purchase. */
export async function hasPurchases(trx: Tx, conferenceId: string): Promise<boolean> {
  const row = await trx('bulk_purchases').where({ conference_id: conferenceId }).first('id')
  return row !== undefined
}

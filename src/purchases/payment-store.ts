import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import {
  type DisputeSnapshot,
  disputeOutcome,
  type PaymentIntentSnapshot,
  type PaymentSnapshot,
  type RefundSnapshot,
} from '../payments/payment-snapshot.ts'

const ofPurchase = (ref: PurchaseRef) => ({
  conference_id: ref.conferenceId,
  purchase_id: ref.purchaseId,
})

/** The stored statuses, to find out what a snapshot changes. */
export type RefundAndDisputeStatuses = {
  refunds: Map<string, RefundSnapshot['status']>
  disputes: Map<string, string>
}

export async function loadRefundAndDisputeStatuses(
  trx: Tx,
  ref: PurchaseRef,
): Promise<RefundAndDisputeStatuses> {
  const refunds = await trx('purchase_refunds')
    .where(ofPurchase(ref))
    .select<{ id: string; status: RefundSnapshot['status'] }[]>('id', 'status')
  const disputes = await trx('purchase_disputes')
    .where(ofPurchase(ref))
    .select<{ id: string; status: string }[]>('id', 'status')
  return {
    refunds: new Map(refunds.map((row) => [row.id, row.status])),
    disputes: new Map(disputes.map((row) => [row.id, row.status])),
  }
}

/** Stores the payments, refunds and disputes of a snapshot over the stored ones. */
export async function savePayments(
  trx: Tx,
  ref: PurchaseRef,
  snapshot: PaymentSnapshot,
): Promise<void> {
  const owner = ofPurchase(ref)
  const now = trx.fn.now()
  const upsert = async (table: string, key: string, rows: Record<string, unknown>[]) => {
    if (rows.length === 0) return
    const stamped = rows.map((row) => ({ ...owner, ...row, updated_at: now }))
    await trx(table)
      .insert(stamped)
      .onConflict(['conference_id', key])
      .merge(Object.keys(rows[0] ?? {}).concat('updated_at'))
  }
  await upsert('purchase_payments', 'payment_intent_id', snapshot.payments.map(paymentColumns))
  await upsert('purchase_refunds', 'id', snapshot.refunds.map(refundColumns))
  await upsert('purchase_disputes', 'id', snapshot.disputes.map(disputeColumns))
}

const paymentColumns = (payment: PaymentIntentSnapshot) => ({
  payment_intent_id: payment.paymentIntent,
  attempt: payment.attempt,
  status: payment.status,
  amount: payment.amount,
  amount_received: payment.received,
  currency: payment.currency,
})

const refundColumns = (refund: RefundSnapshot) => ({
  id: refund.id,
  payment_intent_id: refund.paymentIntent,
  status: refund.status,
  amount: refund.amount,
  currency: refund.currency,
  reason: refund.reason,
  failure_reason: refund.failureReason,
})

const disputeColumns = (dispute: DisputeSnapshot) => ({
  id: dispute.id,
  payment_intent_id: dispute.paymentIntent,
  status: dispute.status,
  amount: dispute.amount,
  currency: dispute.currency,
  reason: dispute.reason,
})

/** The balance of one payment, in minor units of its own currency. */
export type PaymentBalance = {
  paymentIntent: string
  currency: string
  received: number
  refunded: number
  refundPending: number
  lost: number
  disputed: boolean
}

type PaymentRow = {
  purchase_id: string
  payment_intent_id: string
  currency: string
  amount_received: number
}

type Part = { payment_intent_id: string; status: string; amount: number }

/** The balance of every payment of the purchase, oldest first. */
export async function loadBalances(trx: Tx, ref: PurchaseRef): Promise<PaymentBalance[]> {
  const balances = await balancesOf(trx, ref.conferenceId, [ref.purchaseId])
  return balances.get(ref.purchaseId) ?? []
}

/** The balances of each purchase's payments, oldest first. */
export async function balancesOf(
  trx: Tx,
  conferenceId: string,
  purchaseIds: string[],
): Promise<Map<string, PaymentBalance[]>> {
  const of = (table: string) =>
    trx(table).where({ conference_id: conferenceId }).whereIn('purchase_id', purchaseIds)
  const payments = await of('purchase_payments')
    .orderByRaw('attempt nulls last, seen_at, payment_intent_id')
    .select<PaymentRow[]>('purchase_id', 'payment_intent_id', 'currency', 'amount_received')
  const columns = ['payment_intent_id', 'status', 'amount'] as const
  const refunds = await of('purchase_refunds').select<Part[]>(...columns)
  const disputes = await of('purchase_disputes').select<Part[]>(...columns)
  const byPurchase = new Map<string, PaymentBalance[]>()
  for (const payment of payments) {
    const list = byPurchase.get(payment.purchase_id) ?? []
    list.push(balanceOf(payment, refunds, disputes))
    byPurchase.set(payment.purchase_id, list)
  }
  return byPurchase
}

function balanceOf(payment: PaymentRow, refunds: Part[], disputes: Part[]): PaymentBalance {
  const isMine = (part: Part) => part.payment_intent_id === payment.payment_intent_id
  const sum = (parts: Part[], matches: (status: string) => boolean) =>
    parts
      .filter((part) => isMine(part) && matches(part.status))
      .reduce((total, part) => total + part.amount, 0)
  return {
    paymentIntent: payment.payment_intent_id,
    currency: payment.currency,
    received: payment.amount_received,
    refunded: sum(refunds, (status) => status === 'succeeded'),
    refundPending: sum(refunds, (status) => status === 'pending' || status === 'requires_action'),
    lost: sum(disputes, (status) => disputeOutcome(status) === 'lost'),
    disputed: disputes.some((part) => isMine(part) && disputeOutcome(part.status) === 'open'),
  }
}

/** The payment intents that we store for the purchase. */
export async function listPaymentIntents(trx: Tx, ref: PurchaseRef): Promise<string[]> {
  const rows = await trx('purchase_payments')
    .where(ofPurchase(ref))
    .select<{ id: string }[]>('payment_intent_id as id')
  return rows.map((row) => row.id)
}

/** The purchase that a payment belongs to, or null. */
export async function findPurchaseIdByPaymentIntent(
  trx: Tx,
  conferenceId: string,
  paymentIntent: string,
): Promise<string | null> {
  const row = await trx('purchase_payments')
    .where({ conference_id: conferenceId, payment_intent_id: paymentIntent })
    .first<{ purchase_id: string } | undefined>('purchase_id')
  return row?.purchase_id ?? null
}

/**
 * SQL for the id of the purchase that a Stripe event is about, or null: by the purchase id, the
 * Checkout session or the payment intent that the event names. Each lookup compares the conference,
 * because the caller's statement may span all tenants.
 *
 * @param event - alias of a row with conference_id, purchase_id, object_id and payment_intent_id.
 */
export const purchaseIdOfEvent = (event: string) => `coalesce(
  (select p.id from bulk_purchases p
    where p.conference_id = ${event}.conference_id and p.id = ${event}.purchase_id),
  (select a.purchase_id from checkout_attempts a
    where a.conference_id = ${event}.conference_id and a.session_id = ${event}.object_id),
  (select m.purchase_id from purchase_payments m
    where m.conference_id = ${event}.conference_id
      and m.payment_intent_id = ${event}.payment_intent_id))`

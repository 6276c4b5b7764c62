import type { Tx } from '../db/connect.ts'
import type { RecordedPayment, RecordedRefund } from './payment-records.ts'

// Money that came outside Stripe, and what was paid back of it. The tables are append-only by privilege.

type PurchaseKey = { conferenceId: string; purchaseId: string }

/** A value of `recordedPaymentOf`. Its time is a text. */
export type RecordedRow = Omit<RecordedPayment, 'paidAt'> & { paidAt: string }

/**
 * SQL for the recorded payment of a purchase with its refunds, or null. A charge has none.
 *
 * @param owner - alias of a row with conference_id and id.
 */
export const recordedPaymentOf = (owner: string) => `(
  select json_build_object('id', r.id, 'amount', r.amount, 'currency', r.currency, 'method', r.method,
    'reference', r.reference, 'paidAt', r.paid_at, 'note', r.note, 'refunds', (
      select coalesce(json_agg(json_build_object('id', b.id, 'amount', b.amount, 'reason', b.reason,
        'voucherIds', b.voucher_ids)
        order by b.created_at, b.id), '[]')
      from recorded_refunds b
      where b.conference_id = r.conference_id and b.purchase_id = r.purchase_id))
  from recorded_payments r
  where r.conference_id = ${owner}.conference_id and r.purchase_id = ${owner}.id)`

export function toRecordedPayment({ paidAt, ...row }: RecordedRow): RecordedPayment {
  return { ...row, paidAt: new Date(paidAt) }
}

export async function insertRecordedPayment(
  trx: Tx,
  { conferenceId, purchaseId }: PurchaseKey,
  payment: RecordedPayment,
  recordedBy: string,
): Promise<void> {
  await trx('recorded_payments').insert({
    conference_id: conferenceId,
    purchase_id: purchaseId,
    id: payment.id,
    amount: payment.amount,
    currency: payment.currency,
    method: payment.method,
    reference: payment.reference,
    paid_at: payment.paidAt,
    note: payment.note,
    recorded_by: recordedBy,
  })
}

export async function insertRecordedRefund(
  trx: Tx,
  { conferenceId, purchaseId }: PurchaseKey,
  refund: RecordedRefund,
  recordedBy: string,
): Promise<void> {
  await trx('recorded_refunds').insert({
    conference_id: conferenceId,
    purchase_id: purchaseId,
    id: refund.id,
    amount: refund.amount,
    reason: refund.reason,
    voucher_ids: refund.voucherIds,
    recorded_by: recordedBy,
  })
}

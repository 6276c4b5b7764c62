import type { Tx } from '../../../db/connect.ts'
import type { RefundFact } from '../../../purchases/payment-facts.ts'
import type { ChargeRef } from './charge.ts'
import type { AttemptFact } from './charge-facts.ts'

const ofCharge = ({ conferenceId, chargeId }: ChargeRef) => ({
  conference_id: conferenceId,
  charge_id: chargeId,
})

/** Writes down which refunds Stripe listed, over what it listed before. */
export async function saveRefunds(
  trx: Tx,
  ref: ChargeRef,
  facts: readonly AttemptFact[],
): Promise<void> {
  const rows = facts.flatMap(({ intent, refunds }) =>
    intent === null
      ? []
      : refunds.map(({ id, status, amount }) => ({
          ...ofCharge(ref),
          id,
          payment_intent_id: intent.id,
          status,
          amount,
          updated_at: trx.fn.now(),
        })),
  )
  if (rows.length === 0) return
  await trx('charge_refunds')
    .insert(rows)
    .onConflict(['conference_id', 'id'])
    .merge(['status', 'amount', 'updated_at'])
}

/** What went back, and what is on its way. Minor units. */
export async function refundSums(
  trx: Tx,
  ref: ChargeRef,
  isUnderWay: (status: RefundFact['status']) => boolean,
): Promise<{ succeeded: number; underWay: number }> {
  const rows = await trx('charge_refunds')
    .where(ofCharge(ref))
    .select<{ status: RefundFact['status']; amount: number }[]>('status', 'amount')
  const sum = (matches: (status: RefundFact['status']) => boolean) =>
    rows.filter(({ status }) => matches(status)).reduce((total, { amount }) => total + amount, 0)
  return { succeeded: sum((status) => status === 'succeeded'), underWay: sum(isUnderWay) }
}

/** What was asked for and that Stripe has not listed yet: it counts as gone. Minor units. */
export async function askedFor(trx: Tx, ref: ChargeRef): Promise<number> {
  const { rows } = await trx.raw<{ rows: { sum: number | null }[] }>(
    `select sum(r.amount) as sum from charge_refund_requests r
      where r.conference_id = ? and r.charge_id = ? and r.state <> 'refused' and not exists (
        select from charge_refunds p
         where p.conference_id = r.conference_id and p.id = r.refund_id)`,
    [ref.conferenceId, ref.chargeId],
  )
  return rows[0]?.sum ?? 0
}

import type { Tx } from '../db/connect.ts'
import type { Order } from './book-orders.ts'

const micros = (time: string) => `cast(extract(epoch from ${time}) * 1000000 as bigint)`

const ofOwner = 'r.conference_id = o.conference_id and r.owner_id = o.id'
const ofPurchase = 'r.conference_id = o.conference_id and r.purchase_id = o.id'

/**
 * What moved of an order. A refund that failed, a dispute that was decided again and each part of a bank transfer
 * are movements of their own. No movement is ever changed.
 */
const MONEY = `(
  select coalesce(json_agg(json_build_object(
      'type', case r.kind when 'payment' then 'payment'
        when 'refund' then case when r.amount > 0 then 'refund' else 'refund_failed' end
        else case when r.amount > 0 then 'dispute' else 'dispute_won' end end,
      'at', ${micros('r.booked_at')},
      'reference', case r.kind when 'payment' then coalesce(b.reference, r.object_id) else r.object_id end,
      'currency', r.currency,
      'amount', case r.kind when 'payment' then r.amount else -r.amount end,
      'method', coalesce(b.method, 'stripe'),
      'paidAt', case r.kind when 'payment' then b.paid_at end) order by r.id), '[]')
  from money_movements r left join recorded_payments b
    on b.conference_id = r.conference_id and b.purchase_id = r.purchase_id and r.source = 'recorded'
  where ${ofOwner})`

const COLUMNS = `o.id, o.description, o.currency, ${micros('o.created_at')} as at`

const PURCHASES = `
  select 'purchase' as kind, ${COLUMNS}, o.reference, o.total_amount as total,
    (select json_build_object('currency', r.currency, 'amount', o.accepted_amount) from payments r
      where ${ofOwner} and r.payment_intent_id = o.accepted_payment_intent_id) as accepted,
    (select coalesce(json_agg(json_build_object(
        'to', case r.to_status when 'PENDING' then 'open' when 'PROCESSING' then 'open'
          else lower(r.to_status) end,
        'at', ${micros('r.created_at')}) order by r.id), '[]')
      from purchase_transitions r where ${ofPurchase} and r.from_status <> r.to_status) as states,
    ${MONEY} as money
  from bulk_purchases o where o.conference_id = :conferenceId and o.sponsor_id = :sponsorId`

// A charge has no history. One that was cancelled does not change any more.
const CHARGES = `
  select 'charge' as kind, ${COLUMNS}, o.source_reference as reference, o.amount as total,
    cast(null as json) as accepted,
    case when o.succeeded_at is not null
        then json_build_array(json_build_object('to', 'paid', 'at', ${micros('o.succeeded_at')}))
      when o.status = 'canceled'
        then json_build_array(json_build_object('to', 'failed', 'at', ${micros('o.updated_at')}))
      else '[]' end as states,
    ${MONEY} as money
  from charges o where o.conference_id = :conferenceId and o.sponsor_id = :sponsorId`

/** All purchases and charges of a sponsor with their money, oldest first. */
export async function findOrders(
  trx: Tx,
  conferenceId: string,
  sponsorId: string,
): Promise<Order[]> {
  const { rows } = await trx.raw<{ rows: Order[] }>(
    `select * from (${PURCHASES} union all ${CHARGES}) as orders order by at, id`,
    { conferenceId, sponsorId },
  )
  return rows.map(({ money, ...order }) => ({
    ...order,
    money: money.map(({ paidAt, ...one }) => ({
      ...one,
      paidAt: paidAt === null ? null : new Date(paidAt).toISOString(),
    })),
  }))
}

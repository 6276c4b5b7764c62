import type { Tx } from '../db/connect.ts'
import type { MoneyFact, Order } from './book-orders.ts'

const micros = (time: string) => `cast(extract(epoch from ${time}) * 1000000 as bigint)`

/** The row of `o` without rows of another kind is an empty list. */
const list = (entry: string, from: string) =>
  `(select coalesce(json_agg(${entry}), '[]') from ${from})`

const ofOwner = 'r.conference_id = o.conference_id and r.owner_id = o.id'
const ofPurchase = 'r.conference_id = o.conference_id and r.purchase_id = o.id'

const fact = (type: string, at: string, reference: string, amount: string, more = '') =>
  `json_build_object('type', '${type}', 'at', ${micros(at)}, 'reference', ${reference},
    'currency', r.currency, 'amount', ${amount}${more})`

const STRIPE = `, 'method', 'stripe'`

// A row that a process of an earlier release wrote has only updated_at.
const RECEIVED_AT = 'coalesce(r.received_at, r.updated_at)'
const SUCCEEDED_AT = 'coalesce(r.succeeded_at, r.updated_at)'
const LOST_AT = 'coalesce(r.lost_at, r.updated_at)'

/** What Stripe shows. A refund that fails and a dispute that is decided again have two entries. */
const STRIPE_FACTS = [
  list(
    fact('payment', RECEIVED_AT, 'r.payment_intent_id', 'r.amount_received', STRIPE),
    `payments r where ${ofOwner} and r.amount_received > 0`,
  ),
  list(
    fact('refund', SUCCEEDED_AT, 'r.id', '-r.amount', STRIPE),
    `payment_refunds r where ${ofOwner} and (r.status = 'succeeded' or r.succeeded_at is not null)`,
  ),
  list(
    fact('refund_failed', 'r.updated_at', 'r.id', 'r.amount', STRIPE),
    `payment_refunds r where ${ofOwner} and r.status <> 'succeeded' and r.succeeded_at is not null`,
  ),
  list(
    fact('dispute', LOST_AT, 'r.id', '-r.amount', STRIPE),
    `payment_disputes r where ${ofOwner} and (r.status = 'lost' or r.lost_at is not null)`,
  ),
  list(
    fact('dispute_won', 'r.updated_at', 'r.id', 'r.amount', STRIPE),
    `payment_disputes r where ${ofOwner} and r.status <> 'lost' and r.lost_at is not null`,
  ),
]

const RECORDED_FACTS = [
  list(
    fact(
      'payment',
      'r.created_at',
      'r.reference',
      'r.amount',
      `, 'method', r.method, 'paidAt', r.paid_at`,
    ),
    `recorded_payments r where ${ofPurchase}`,
  ),
  `(select coalesce(json_agg(json_build_object('type', 'refund', 'at', ${micros('b.created_at')},
      'reference', b.id, 'currency', r.currency, 'amount', -b.amount, 'method', r.method)), '[]')
    from recorded_refunds b join recorded_payments r
      on r.conference_id = b.conference_id and r.purchase_id = b.purchase_id
    where b.conference_id = o.conference_id and b.purchase_id = o.id)`,
]

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
    json_build_array(${[...STRIPE_FACTS, ...RECORDED_FACTS].join(', ')}) as money
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
    json_build_array(${STRIPE_FACTS.join(', ')}) as money
  from charges o where o.conference_id = :conferenceId and o.sponsor_id = :sponsorId`

type OrderRow = Omit<Order, 'money'> & {
  money: (Omit<MoneyFact, 'paidAt'> & { paidAt?: string })[][]
}

/** All purchases and charges of a sponsor with their money, oldest first. */
export async function findOrders(
  trx: Tx,
  conferenceId: string,
  sponsorId: string,
): Promise<Order[]> {
  const { rows } = await trx.raw<{ rows: OrderRow[] }>(
    `select * from (${PURCHASES} union all ${CHARGES}) as orders order by at, id`,
    { conferenceId, sponsorId },
  )
  return rows.map(({ money, ...order }) => ({
    ...order,
    money: money.flat().map(({ paidAt, ...one }) => ({
      ...one,
      paidAt: paidAt === undefined ? null : new Date(paidAt).toISOString(),
    })),
  }))
}

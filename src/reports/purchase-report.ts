import type { Tx } from '../db/connect.ts'
import { PURCHASE_STATUSES } from '../purchases/purchase-machine.ts'
import { CREATED_DAY, CREATED_IN_RANGE, rangeBindings } from './created-range.ts'
import type { PurchaseReport, PurchaseReportQuery } from './report-schemas.ts'

const GROUPS = { status: 'status', sponsor: 'sponsor_id', day: CREATED_DAY } as const

type Row = PurchaseReport['data'][number] & { is_total: boolean }

/**
 * Counts and sums of purchases by group and currency. One table is summed, in one statement: a join
 * to payments or vouchers would count a purchase once for each of them. Names come by sub-select.
 */
export async function reportPurchases(
  trx: Tx,
  conferenceId: string,
  query: PurchaseReportQuery,
): Promise<PurchaseReport> {
  const { rows } = await trx.raw<{ rows: Row[] }>(
    `with purchases as (
       select ${GROUPS[query.group_by]} as "group", currency, quantity, total_amount,
         amount_received, amount_refunded
       from bulk_purchases
       where conference_id = :conferenceId and ${CREATED_IN_RANGE}
         and status = coalesce(:status, status)),
     summed as (
       select "group", currency, grouping("group") = 1 as is_total, count(*) as count,
         sum(quantity)::bigint as quantity, sum(total_amount)::bigint as total_amount,
         sum(amount_received)::bigint as amount_received,
         sum(amount_refunded)::bigint as amount_refunded
       from purchases group by grouping sets (("group", currency), (currency)))
     select summed.*,
       (select s.name from sponsors s
        where s.conference_id = :conferenceId and s.id = summed."group") as name
     from summed
     order by array_position(cast(:statuses as text[]), "group"), name, "group", currency`,
    {
      conferenceId,
      status: query.status ?? null,
      statuses: [...PURCHASE_STATUSES],
      ...rangeBindings(query),
    },
  )
  return {
    object: 'purchase_report',
    group_by: query.group_by,
    data: rows.filter((row) => !row.is_total),
    totals: rows.filter((row) => row.is_total),
  }
}

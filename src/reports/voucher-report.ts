import type { Tx } from '../db/connect.ts'
import { PURCHASE_STATUSES } from '../purchases/purchase-machine.ts'
import { CREATED_DAY, CREATED_IN_RANGE, rangeBindings } from './created-range.ts'
import type { VoucherReport, VoucherReportQuery } from './report-schemas.ts'

const GROUPS = {
  status: `(select p.status from bulk_purchases p
    where p.conference_id = b.conference_id and p.id = b.purchase_id)`,
  source: 'source',
  sponsor: 'sponsor_id',
  day: CREATED_DAY,
} as const

const SUMS = ['issued', 'active', 'frozen', 'deactivated', 'redeemed', 'uses', 'remaining'] as const

type Row = VoucherReport['data'][number] & { is_total: boolean }

/**
 * Counts of codes by group, of batches created in the range. Each batch's codes are counted first,
 * then batches are grouped: a code counts once, however often it was redeemed.
 */
export async function reportVouchers(
  trx: Tx,
  conferenceId: string,
  query: VoucherReportQuery,
): Promise<VoucherReport> {
  const { rows } = await trx.raw<{ rows: Row[] }>(
    `with batches as (
       select b.id, ${GROUPS[query.group_by]} as "group"
       from voucher_batches b where b.conference_id = :conferenceId and ${CREATED_IN_RANGE}),
     counted as (
       select v.batch_id, count(*) as issued,
         count(*) filter (where v.state = 'active') as active,
         count(*) filter (where v.state = 'frozen') as frozen,
         count(*) filter (where v.state = 'deactivated') as deactivated,
         count(*) filter (where v.times_used > 0) as redeemed,
         sum(v.times_used) as uses,
         count(*) filter (where v.state = 'active' and v.times_used < v.max_uses) as remaining
       from vouchers v
       where v.conference_id = :conferenceId and v.batch_id in (select id from batches)
       group by v.batch_id),
     summed as (
       select "group", grouping("group") = 1 as is_total, count(*) as batches,
         ${SUMS.map((name) => `coalesce(sum(${name}), 0)::bigint as ${name}`).join(', ')}
       from batches join counted on counted.batch_id = batches.id
       group by grouping sets (("group"), ()))
     select summed.*,
       (select s.name from sponsors s
        where s.conference_id = :conferenceId and s.id = summed."group") as name
     from summed
     order by array_position(cast(:statuses as text[]), "group"), name, "group"`,
    { conferenceId, statuses: [...PURCHASE_STATUSES], ...rangeBindings(query) },
  )
  const total = rows.find((row) => row.is_total)
  if (total === undefined) throw new Error('The grand total is a row even without vouchers')
  return {
    object: 'voucher_report',
    group_by: query.group_by,
    data: rows.filter((row) => !row.is_total),
    totals: total,
  }
}

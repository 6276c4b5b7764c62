import type { Tx } from '../db/connect.ts'
import { PURCHASE_STATUSES } from '../purchases/purchase-machine.ts'
import type {
  PurchaseReport,
  PurchaseReportQuery,
  VoucherReport,
  VoucherReportQuery,
} from './report-schemas.ts'

/** The range of `created_at` in RFC 3339; both ends are exclusive, as in the lists. */
export type CreatedRange = {
  created_after?: string | undefined
  created_before?: string | undefined
}

/**
 * The SQL condition of a range, for `rangeBindings`. It uses `cast`, because knex reads `:name::type` as
 * the name of a column.
 */
const CREATED_IN_RANGE = `created_at > coalesce(cast(:after as timestamptz), '-infinity')
  and created_at < coalesce(cast(:before as timestamptz), 'infinity')`

function rangeBindings({ created_after: after, created_before: before }: CreatedRange) {
  return { after: after ?? null, before: before ?? null }
}

/** The day of `created_at` in UTC, as text. */
const CREATED_DAY = `to_char(created_at at time zone 'utc', 'YYYY-MM-DD')`

const PURCHASE_GROUPS = { status: 'status', sponsor: 'sponsor_id', day: CREATED_DAY } as const

type PurchaseReportRow = PurchaseReport['data'][number] & { is_total: boolean }

/**
 * Counts and sums of purchases by group and currency. The statement sums one table only: a join to
 * payments or vouchers would count a purchase several times. A sub-select adds the names.
 */
export async function reportPurchases(
  trx: Tx,
  conferenceId: string,
  query: PurchaseReportQuery,
): Promise<PurchaseReport> {
  const { rows } = await trx.raw<{ rows: PurchaseReportRow[] }>(
    `with purchases as (
       select ${PURCHASE_GROUPS[query.group_by]} as "group", currency, quantity, total_amount,
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

const VOUCHER_GROUPS = {
  status: `(select p.status from bulk_purchases p
    where p.conference_id = b.conference_id and p.id = b.purchase_id)`,
  source: 'source',
  sponsor: 'sponsor_id',
  day: CREATED_DAY,
} as const

const SUMS = ['issued', 'active', 'frozen', 'deactivated', 'redeemed', 'uses', 'remaining'] as const

type VoucherReportRow = VoucherReport['data'][number] & { is_total: boolean }

/**
 * Counts of vouchers by group, for batches created in the range. It first counts each batch's vouchers,
 * then groups the batches, so that a voucher with several redemptions counts once.
 */
export async function reportVouchers(
  trx: Tx,
  conferenceId: string,
  query: VoucherReportQuery,
): Promise<VoucherReport> {
  const { rows } = await trx.raw<{ rows: VoucherReportRow[] }>(
    `with batches as (
       select b.id, ${VOUCHER_GROUPS[query.group_by]} as "group"
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
  if (total === undefined) throw new Error('The query returned no total')
  return {
    object: 'voucher_report',
    group_by: query.group_by,
    data: rows.filter((row) => !row.is_total),
    totals: total,
  }
}

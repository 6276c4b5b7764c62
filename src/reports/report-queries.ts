import type { Tx } from '../db/connect.ts'
import { PURCHASE_STATUSES } from '../purchases/purchase-machine.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { toTimestamp } from '../shared/time.ts'
import type {
  PurchaseDocument,
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
 * How Postgres makes a report: it takes less time than its compilation would, its groups fit into memory, and
 * so hashing finds them faster than sorting.
 */
export const REPORT_SETTINGS = { jit: 'off', work_mem: '32MB', enable_sort: 'off' }

/** SQL for the conference, and for the range if the query has one. Each condition costs every row. */
function created(table: string, { created_after: after, created_before: before }: CreatedRange) {
  return [
    `${table}.conference_id = :conferenceId`,
    ...(after === undefined ? [] : [`${table}.created_at > :after`]),
    ...(before === undefined ? [] : [`${table}.created_at < :before`]),
  ].join(' and ')
}

const rangeBindings = ({ created_after: after, created_before: before }: CreatedRange) => ({
  ...(after === undefined ? {} : { after }),
  ...(before === undefined ? {} : { before }),
})

/** The day of `created_at` in UTC. A date is grouped faster than its text. */
const createdDay = (table: string) => `cast(${table}.created_at at time zone 'utc' as date)`

/** The SQL text of a group, if it is grouped by `by`. */
const textOf = (by: string) => (by === 'day' ? `to_char("group", 'YYYY-MM-DD')` : '"group"')

const summed = (names: readonly string[]) =>
  names.map((name) => `coalesce(sum(${name}), 0)::bigint as ${name}`).join(', ')

const PURCHASE_GROUPS = {
  status: 'p.status',
  sponsor: 'p.sponsor_id',
  day: createdDay('p'),
} as const

const PURCHASE_SUMS = ['quantity', 'total_amount', 'amount_received', 'amount_refunded'] as const

/** What came outside Stripe: at most one row for each purchase, so a join counts none twice. */
const RECORDED = `(
  select r.purchase_id, r.amount, (
    select sum(b.amount) from recorded_refunds b
    where b.conference_id = r.conference_id and b.purchase_id = r.purchase_id) as refunded
  from recorded_payments r where r.conference_id = :conferenceId)`
const RECORDED_SUMS = ['recorded_received', 'recorded_refunded'] as const

type PurchaseReportRow = PurchaseReport['data'][number] & { is_total: boolean }

/**
 * Counts and sums of purchases by group and currency. It joins no table with several rows for a purchase,
 * such as payments or vouchers: that would count it several times. Few purchases have a recorded payment,
 * so those are read on their own instead of joined to every purchase. The totals are sums of groups,
 * because Postgres does not read a table in parallel for grouping sets.
 */
export async function reportPurchases(
  trx: Tx,
  conferenceId: string,
  query: PurchaseReportQuery,
): Promise<PurchaseReport> {
  const group = PURCHASE_GROUPS[query.group_by]
  const chosen = `${created('p', query)} ${query.status === undefined ? '' : 'and p.status = :status'}`
  const { rows } = await trx.raw<{ rows: PurchaseReportRow[] }>(
    `with grouped as (
       select ${group} as "group", p.currency, count(*) as count,
         ${PURCHASE_SUMS.map((name) => `sum(p.${name}) as ${name}`).join(', ')},
         0 as recorded_received, 0 as recorded_refunded
       from bulk_purchases p where ${chosen}
       group by "group", p.currency
       union all
       select ${group}, p.currency, 0, ${PURCHASE_SUMS.map(() => '0').join(', ')},
         sum(recorded.amount), sum(recorded.refunded)
       from ${RECORDED} recorded
         join bulk_purchases p on p.conference_id = :conferenceId and p.id = recorded.purchase_id
       where ${chosen}
       group by 1, 2),
     summed as (
       select ${textOf(query.group_by)} as "group", currency, grouping("group") = 1 as is_total,
         ${summed(['count', ...PURCHASE_SUMS, ...RECORDED_SUMS])}
       from grouped group by grouping sets (("group", currency), (currency)))
     select summed.*,
       (select s.name from sponsors s
        where s.conference_id = :conferenceId and s.id = summed."group") as name
     from summed
     order by array_position(cast(:statuses as text[]), "group"), name, "group", currency`,
    {
      conferenceId,
      statuses: [...PURCHASE_STATUSES],
      ...rangeBindings(query),
      ...(query.status === undefined ? {} : { status: query.status }),
    },
  )
  return {
    object: 'purchase_report',
    group_by: query.group_by,
    data: rows.filter((row) => !row.is_total),
    totals: rows.filter((row) => row.is_total),
  }
}

/**
 * Joins the purchases that are not PAID, for the status of a batch's purchase: most are PAID, and an index
 * has the others.
 */
const JOIN_UNPAID = `left join bulk_purchases p on p.conference_id = :conferenceId and p.id = b.purchase_id
  and p.status in (${PURCHASE_STATUSES.filter((status) => status !== 'PAID')
    .map((status) => `'${status}'`)
    .join(', ')})`

const VOUCHER_GROUPS = {
  status: `case when b.purchase_id is not null then coalesce(p.status, 'PAID') end`,
  source: 'b.source',
  sponsor: 'b.sponsor_id',
  day: createdDay('b'),
} as const

const COUNTS = ['issued', 'frozen', 'deactivated', 'redeemed', 'uses', 'remaining'] as const

/** SQL for the difference of a batch to one whose vouchers are all issued and untouched. */
const difference = (name: (typeof COUNTS)[number]) =>
  `coalesce(c.${name}, 0) + coalesce(changed.${name}, 0)`

type VoucherReportRow = VoucherReport['data'][number] & { is_total: boolean }

/**
 * Counts of vouchers by group, for batches created in the range. It reads no vouchers but the counts that
 * the database keeps for each batch (migrations/0057_voucher_counts.ts). A sponsor gets those of its own batches.
 */
export async function reportVouchers(
  trx: Tx,
  { conferenceId, sponsorId }: Pick<Caller, 'conferenceId' | 'sponsorId'>,
  query: VoucherReportQuery,
): Promise<VoucherReport> {
  const { rows } = await trx.raw<{ rows: VoucherReportRow[] }>(
    `with changed as (
       select batch_id, ${summed(COUNTS)} from voucher_count_changes
       where conference_id = :conferenceId group by batch_id),
     counted as (
       select ${VOUCHER_GROUPS[query.group_by]} as "group",
         b.count + ${difference('issued')} as issued,
         ${difference('frozen')} as frozen, ${difference('deactivated')} as deactivated,
         ${difference('redeemed')} as redeemed, ${difference('uses')} as uses,
         b.count + ${difference('remaining')} as remaining
       from voucher_batches b
       left join voucher_counts c on c.conference_id = :conferenceId and c.batch_id = b.id
       left join changed on changed.batch_id = b.id
       ${query.group_by === 'status' ? JOIN_UNPAID : ''}
       where ${created('b', query)} ${sponsorId === null ? '' : 'and b.sponsor_id = :sponsorId'}),
     grouped as (
       select "group", count(*) as batches, sum(issued - frozen - deactivated) as active, ${summed(COUNTS)}
       from counted where issued > 0 group by "group"),
     summed as (
       select ${textOf(query.group_by)} as "group", grouping("group") = 1 as is_total,
         ${summed(['batches', 'active', ...COUNTS])}
       from grouped group by grouping sets (("group"), ()))
     select summed.*,
       (select s.name from sponsors s
        where s.conference_id = :conferenceId and s.id = summed."group") as name
     from summed
     order by array_position(cast(:statuses as text[]), "group"), name, "group"`,
    {
      conferenceId,
      statuses: [...PURCHASE_STATUSES],
      ...rangeBindings(query),
      ...(sponsorId === null ? {} : { sponsorId }),
    },
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

type DocumentRow = Omit<PurchaseDocument, 'object' | 'created_at'> & { created: Date }

/** An invoice belongs to a payment, or to the payment page that it was paid on. */
const DOCUMENTS = `
  with paid as (
    select payment_intent_id as id from payments
    where conference_id = :conferenceId and purchase_id = :purchaseId),
  billed as (
    select i.id from stripe.invoices i join paid on paid.id = i.payment_intent
    where i.conference_id = :conferenceId
    union
    select s.invoice from payment_attempts a
    join stripe.checkout_sessions s on s.conference_id = :conferenceId and s.id = a.session_id
    where a.conference_id = :conferenceId and a.purchase_id = :purchaseId and s.invoice is not null)
  select 'receipt' as kind, c.receipt_number as number, c.receipt_url as url, null as pdf, c.amount,
    upper(c.currency) as currency, c.created, c.id
  from stripe.charges c join paid on paid.id = c.payment_intent
  where c.conference_id = :conferenceId and c.status = 'succeeded' and c.receipt_url is not null
    and c.deleted_at is null
  union all
  select 'invoice', i.number, i.hosted_invoice_url, i.invoice_pdf, i.total, upper(i.currency), i.created, i.id
  from stripe.invoices i join billed on billed.id = i.id
  where i.conference_id = :conferenceId and i.hosted_invoice_url is not null and i.deleted_at is null
  order by created, kind, id`

/**
 * The receipts and invoices of Stripe for the payments of a purchase, from the mirror.
 *
 * @throws AppError `not_found`, also for another sponsor's purchase.
 */
export async function findPurchaseDocuments(
  trx: Tx,
  { conferenceId, sponsorId }: Pick<Caller, 'conferenceId' | 'sponsorId'>,
  purchaseId: string,
): Promise<PurchaseDocument[]> {
  const purchase = await trx('bulk_purchases')
    .where({ conference_id: conferenceId, id: purchaseId })
    .where(sponsorId === null ? {} : { sponsor_id: sponsorId })
    .first<{ id: string } | undefined>('id')
  if (purchase === undefined) throw notFound('purchase')
  const { rows } = await trx.raw<{ rows: DocumentRow[] }>(DOCUMENTS, { conferenceId, purchaseId })
  return rows.map((row) => ({
    object: 'purchase_document',
    kind: row.kind,
    number: row.number,
    url: row.url,
    pdf: row.pdf,
    amount: row.amount,
    currency: row.currency,
    created_at: toTimestamp(row.created),
  }))
}

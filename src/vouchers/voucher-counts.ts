import type { Tx } from '../db/connect.ts'

/** The numbers of a purchase's vouchers by state. */
export type VoucherCounts = {
  issued: number
  active: number
  frozen: number
  deactivated: number
  /** Vouchers that were used at least once. */
  redeemed: number
  /** Active vouchers that have uses left; their dates do not matter. */
  remaining: number
}

/** The counts of a purchase without vouchers. */
export const NO_VOUCHERS: VoucherCounts = {
  issued: 0,
  active: 0,
  frozen: 0,
  deactivated: 0,
  redeemed: 0,
  remaining: 0,
}

// The database keeps the counts as differences to a batch whose vouchers are all issued and untouched
// (migrations/0057_voucher_counts.ts). They are the sum of a batch's row in `voucher_counts` and its rows in
// `voucher_count_changes`.
const COLUMNS = ['issued', 'frozen', 'deactivated', 'redeemed', 'uses', 'remaining'] as const

const SUMS = COLUMNS.map((name) => `coalesce(sum(d.${name}), 0)::bigint as ${name}`).join(', ')

/**
 * SQL for the counts of a purchase's vouchers: a `VoucherCounts`, or null if none were issued.
 *
 * @param purchase - alias of a row with conference_id and id.
 */
export const voucherCountsOf = (purchase: string) => `(
  select json_build_object('issued', b.count + issued, 'active', b.count + issued - frozen - deactivated,
    'frozen', frozen, 'deactivated', deactivated, 'redeemed', redeemed, 'remaining', b.count + remaining)
  from voucher_batches b
  cross join lateral (
    select ${SUMS} from (
      select ${COLUMNS.join(', ')} from voucher_counts c
      where c.conference_id = b.conference_id and c.batch_id = b.id
      union all
      select ${COLUMNS.join(', ')} from voucher_count_changes c
      where c.conference_id = b.conference_id and c.batch_id = b.id) as d) as difference
  where b.conference_id = ${purchase}.conference_id and b.purchase_id = ${purchase}.id)`

/** The counts of one purchase's vouchers. */
export async function purchaseVoucherCounts(
  trx: Tx,
  { conferenceId, purchaseId }: { conferenceId: string; purchaseId: string },
): Promise<VoucherCounts> {
  const { rows } = await trx.raw<{ rows: { counts: VoucherCounts | null }[] }>(
    `select ${voucherCountsOf('p')} as counts
     from (select cast(:conferenceId as text) as conference_id, cast(:purchaseId as text) as id) as p`,
    { conferenceId, purchaseId },
  )
  return rows[0]?.counts ?? NO_VOUCHERS
}

/** Counts vouchers that were missing and are issued now. */
export async function countIssuedAgain(
  trx: Tx,
  batch: { conferenceId: string; id: string },
  issued: number,
): Promise<void> {
  await trx('voucher_count_changes').insert({
    conference_id: batch.conferenceId,
    batch_id: batch.id,
    issued,
    frozen: 0,
    deactivated: 0,
    redeemed: 0,
    uses: 0,
    remaining: issued,
  })
}

const MAX_CHANGES = 10_000

const ADD_UP = `
  with added as (
    delete from voucher_count_changes
    where ctid = any(array(select ctid from voucher_count_changes limit :max for update skip locked))
    returning conference_id, batch_id, ${COLUMNS.join(', ')})
  insert into voucher_counts (conference_id, batch_id, ${COLUMNS.join(', ')})
  select conference_id, batch_id, ${SUMS} from added d
  group by conference_id, batch_id order by conference_id, batch_id
  on conflict (conference_id, batch_id) do update
  set ${COLUMNS.map((name) => `${name} = voucher_counts.${name} + excluded.${name}`).join(', ')}
  returning (select count(*) from added) as changes`

/** Adds up the changes of all conferences, so that a count reads few rows. */
export async function addUpVoucherCounts(trx: Tx): Promise<void> {
  for (;;) {
    const { rows } = await trx.raw<{ rows: { changes: number }[] }>(ADD_UP, { max: MAX_CHANGES })
    if ((rows[0]?.changes ?? 0) < MAX_CHANGES) return
  }
}

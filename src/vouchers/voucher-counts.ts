import type { Tx } from '../db/connect.ts'

/** How a purchase's codes stand. */
export type VoucherCounts = {
  issued: number
  active: number
  frozen: number
  deactivated: number
  /** Codes used at least once. */
  redeemed: number
  /** Codes that are active and have uses left, whatever the date. */
  remaining: number
}

const NONE: VoucherCounts = {
  issued: 0,
  active: 0,
  frozen: 0,
  deactivated: 0,
  redeemed: 0,
  remaining: 0,
}

/** The counts of each given purchase, all zero for one without codes. */
export async function countVouchers(
  trx: Tx,
  conferenceId: string,
  purchaseIds: string[],
): Promise<Map<string, VoucherCounts>> {
  const counts = new Map(purchaseIds.map((id) => [id, NONE]))
  if (purchaseIds.length === 0) return counts
  const { rows } = await trx.raw<{ rows: (VoucherCounts & { purchase_id: string })[] }>(
    `select b.purchase_id,
       count(*) as issued,
       count(*) filter (where v.state = 'active') as active,
       count(*) filter (where v.state = 'frozen') as frozen,
       count(*) filter (where v.state = 'deactivated') as deactivated,
       count(*) filter (where v.times_used > 0) as redeemed,
       count(*) filter (where v.state = 'active' and v.times_used < v.max_uses) as remaining
     from voucher_batches b
     join vouchers v on v.conference_id = b.conference_id and v.batch_id = b.id
     where b.conference_id = ? and b.purchase_id = any(?)
     group by b.purchase_id`,
    [conferenceId, purchaseIds],
  )
  for (const { purchase_id: id, ...count } of rows) counts.set(id, count)
  return counts
}

import type { Tx } from '../db/connect.ts'

type BatchRef = { conferenceId: string; batchId: string }

/**
 * Marks a batch as published, so that its codes cannot be redeemed here any more. It locks the
 * vouchers first: a concurrent redemption holds its voucher's lock, so it either is in the result's
 * count of uses or sees that the batch is published.
 *
 * @returns the vouchers with remaining uses.
 */
export async function markBatchPublished(
  trx: Tx,
  { conferenceId, batchId }: BatchRef,
): Promise<{ id: number; remaining: number }[]> {
  const vouchers = await trx('vouchers')
    .where({ conference_id: conferenceId, batch_id: batchId })
    .orderBy('ordinal', 'desc')
    .forNoKeyUpdate()
    .select<{ id: number; remaining: number }[]>(
      'id',
      trx.raw('max_uses - times_used as remaining'),
    )
  await trx('voucher_batches')
    .where({ conference_id: conferenceId, id: batchId })
    .update({ published_at: trx.fn.now() })
  return vouchers.filter(({ remaining }) => remaining > 0)
}

/** Makes the codes of a batch redeemable here again. */
export async function unmarkBatchPublished(
  trx: Tx,
  { conferenceId, batchId }: BatchRef,
): Promise<void> {
  await trx('voucher_batches')
    .where({ conference_id: conferenceId, id: batchId })
    .update({ published_at: null })
}

/**
 * SQL that joins the vouchers `v` of rows with the columns conference_id and voucher_id, and their
 * batches `b`.
 *
 * @param row - the alias of those rows.
 */
export const joinVouchers = (row: string) => `
  join vouchers v on v.conference_id = ${row}.conference_id and v.id = ${row}.voucher_id
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id`

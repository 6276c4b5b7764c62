import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/add-job.ts'

/**
 * To be called in the transaction that changes the state of a batch's codes: if they are published,
 * their promotion codes are turned off and on like them, by a job that exists when this commits.
 */
export async function followAtStripe(
  trx: Tx,
  { conferenceId, batchId }: { conferenceId: string; batchId: string },
): Promise<void> {
  const published = await trx('voucher_batches')
    .where({ conference_id: conferenceId, id: batchId })
    .whereNotNull('published_at')
    .first<{ id: string } | undefined>('id')
  if (published === undefined) return
  await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id: batchId })
}

import type { Tx } from '../db/connect.ts'
import { announceEvent } from '../notifications/outgoing/announce-event.ts'

/** Tells receivers how many codes of a batch were turned off or on, and by what. Nothing for none. */
export async function announceSwitch(
  trx: Tx,
  type: 'vouchers.deactivated' | 'vouchers.activated',
  where: { conferenceId: string; batchId: string; purchaseId: string | null },
  count: number,
  by: 'refund' | 'staff',
): Promise<void> {
  if (count === 0) return
  const { conferenceId, batchId, purchaseId } = where
  await announceEvent(trx, {
    conferenceId,
    type,
    data: { batch: batchId, purchase: purchaseId, count, by },
  })
}

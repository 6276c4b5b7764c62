import type { Tx } from '../db/connect.ts'
import { notFound } from '../shared/errors.ts'
import type { PurchaseRef } from './purchase-aggregate.ts'
import type { FlagCode, FlagFact } from './purchase-machine.ts'

const ofPurchase = (ref: PurchaseRef) => ({
  conference_id: ref.conferenceId,
  purchase_id: ref.purchaseId,
})

/**
 * Raises a flag that is open at most once: the newest fact replaces an open one. So the same refunds end
 * with the same flag, whether one snapshot contained them or several did.
 */
export async function raiseSingleFlag(
  trx: Tx,
  ref: PurchaseRef,
  code: FlagCode,
  flag: FlagFact,
): Promise<void> {
  const seen = await trx('purchase_flags')
    .where({ ...ofPurchase(ref), code, fact: flag.fact })
    .first('fact')
  if (seen !== undefined) return
  await withdrawFlag(trx, ref, code)
  await trx('purchase_flags').insert({ ...ofPurchase(ref), code, ...flag })
}

/** Withdraws the open flags of a code, whose cause has ended: the same cause may raise them again. */
export async function withdrawFlag(trx: Tx, ref: PurchaseRef, code: FlagCode): Promise<void> {
  await trx('purchase_flags')
    .where({ ...ofPurchase(ref), code })
    .whereNull('resolved_at')
    .delete()
}

/**
 * Resolves open flags of this code for good.
 *
 * @param facts which of them; null: all.
 * @throws AppError `not_found` if none is open.
 */
export async function resolveFlags(
  trx: Tx,
  ref: PurchaseRef,
  code: FlagCode,
  facts: readonly string[] | null,
  by: { actorId: string; note: string; action: string | null },
): Promise<void> {
  const query = trx('purchase_flags')
    .where({ ...ofPurchase(ref), code })
    .whereNull('resolved_at')
  if (facts !== null) void query.whereIn('fact', [...facts])
  const resolved = await query.update({
    resolved_at: trx.fn.now(),
    resolved_by: by.actorId,
    note: by.note,
    resolution: by.action,
  })
  if (resolved === 0) throw notFound(`open flag ${code} on this purchase`)
}

/** The number of purchases of all conferences with an open flag, by code, for the metrics. */
export function countFlaggedPurchases(trx: Tx): Promise<{ code: string; count: number }[]> {
  return trx('purchase_flags')
    .whereNull('resolved_at')
    .groupBy('code')
    .select<{ code: string; count: number }[]>(
      'code',
      trx.raw('count(distinct (conference_id, purchase_id)) as count'),
    )
}

import type { Tx } from '../db/connect.ts'
import { alignVouchers } from './align-vouchers.ts'
import { lockBatch, type VoucherTarget } from './voucher-batch-store.ts'

/** Changes a part of the stored target of a purchase and aligns its vouchers. */
async function changeTarget(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  change: (target: VoucherTarget, count: number) => Partial<VoucherTarget>,
): Promise<{ missing: number }> {
  const batch = await lockBatch(trx, conferenceId, { purchase_id: purchaseId })
  if (batch === null) return { missing: 0 }
  const target = { ...batch.target, ...change(batch.target, batch.count) }
  const frozen = Math.max(target.inactive, target.frozen)
  return alignVouchers(trx, { conferenceId, purchaseId }, { ...target, frozen })
}

/** Requires `k` inactive vouchers in all. */
export function deactivateForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<{ missing: number }> {
  return changeTarget(trx, conferenceId, purchaseId, () => ({ inactive: k }))
}

/** Requires all vouchers to be inactive. */
export async function deactivateAll(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
): Promise<void> {
  await changeTarget(trx, conferenceId, purchaseId, (_, count) => ({ inactive: count }))
}

/** Requires no inactive vouchers. */
export async function reactivateVouchers(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
): Promise<void> {
  await changeTarget(trx, conferenceId, purchaseId, () => ({ inactive: 0, frozen: 0 }))
}

/** Requires `k` vouchers in all to be inactive or frozen. */
export async function freezeForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<void> {
  await changeTarget(trx, conferenceId, purchaseId, () => ({ frozen: k }))
}

/** Freezes all usable vouchers while a dispute is open. */
export async function freezeForDispute(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  disputed: boolean,
): Promise<void> {
  await changeTarget(trx, conferenceId, purchaseId, () => ({ disputed }))
}

import type { Tx } from '../db/connect.ts'
import { AppError } from '../shared/errors.ts'
import {
  enqueuePromotionCodeSync,
  type LockedBatch,
  lockBatch,
  publishVoucherStateChange,
  realignBatch,
} from './freeze-vouchers.ts'
import type { Voucher } from './voucher.ts'
import { getVoucher } from './voucher-store.ts'

/**
 * Deactivates one voucher for staff. Idempotent. A voucher that a refund deactivated stays inactive from
 * then on, also after the refund failed. If the purchase's refunds required the voucher or another one to
 * be inactive, staff's counts for them, so a voucher that a refund deactivated may become active again.
 *
 * @throws AppError `not_found`
 */
export async function deactivateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
): Promise<Voucher> {
  const { batch, voucher } = await lockBatchOfVoucher(trx, conferenceId, code)
  const changed = await trx('vouchers')
    .where({ conference_id: conferenceId, id: voucher.id })
    .whereRaw(`deactivated_by is distinct from 'staff'`)
    .update({
      deactivated_by: 'staff',
      deactivated_at: trx.raw('coalesce(deactivated_at, now())'),
      held_by_refund: false,
      held_by_dispute: false,
    })
  if (changed === 0) return voucher
  if (voucher.state !== 'deactivated') {
    await publishVoucherStateChange(trx, 'vouchers.deactivated', batch, 1, 'staff')
    await enqueuePromotionCodeSync(trx, batch)
  }
  await realignBatch(trx, batch)
  return getVoucher(trx, conferenceId, code)
}

/**
 * Activates one voucher again. Idempotent. It comes back frozen if a pending refund or an open dispute
 * requires that.
 *
 * @throws AppError `not_found`; `voucher_refunded` if refunds require it to stay inactive; `wrong_state`
 * while a pending refund or an open dispute freezes it.
 */
export async function activateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
): Promise<Voucher> {
  const { batch, voucher } = await lockBatchOfVoucher(trx, conferenceId, code)
  if (voucher.state === 'active') return voucher
  if (voucher.state === 'frozen') throw frozenError()
  await assertMayBeActive(trx, batch, voucher.id)
  await trx('vouchers').where({ conference_id: conferenceId, id: voucher.id }).update({
    deactivated_by: null,
    deactivated_at: null,
    held_by_refund: false,
    held_by_dispute: false,
  })
  await publishVoucherStateChange(trx, 'vouchers.activated', batch, 1, 'staff')
  await enqueuePromotionCodeSync(trx, batch)
  await realignBatch(trx, batch)
  return getVoucher(trx, conferenceId, code)
}

/** Locks the voucher's batch and reads the voucher under that lock, so that its state cannot change. */
async function lockBatchOfVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
): Promise<{ batch: LockedBatch; voucher: Voucher }> {
  const { batchId } = await getVoucher(trx, conferenceId, code)
  const batch = await lockBatch(trx, conferenceId, { id: batchId })
  if (batch === null) throw new Error(`Batch ${batchId} was not found although it has a voucher`)
  return { batch, voucher: await getVoucher(trx, conferenceId, code) }
}

async function assertMayBeActive(
  trx: Tx,
  { conferenceId, id, target }: LockedBatch,
  voucherId: number,
): Promise<void> {
  if (target.namedInactive.includes(voucherId)) {
    throw new AppError('voucher_refunded', 'A refund named this voucher, so it stays inactive.')
  }
  if (target.inactive === 0) return
  const [row] = await trx('vouchers')
    .where({ conference_id: conferenceId, batch_id: id })
    .whereNotNull('deactivated_by')
    .count<{ count: number }[]>()
  const inactive = row?.count ?? 0
  if (inactive - 1 < target.inactive) throw refundedError(target.inactive, inactive)
}

function frozenError(): AppError {
  return new AppError(
    'wrong_state',
    'The voucher is frozen until the pending refund or open dispute of its purchase ends.',
    { extra: { state: 'frozen', allowed_actions: ['deactivate'] } },
  )
}

function refundedError(required: number, inactive: number): AppError {
  return new AppError(
    'voucher_refunded',
    `Refunds or a revocation require ${required} inactive vouchers; ${inactive} ${inactive === 1 ? 'is' : 'are'} inactive.`,
    { extra: { required_off: required, off: inactive } },
  )
}

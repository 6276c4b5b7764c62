import type { Tx } from '../db/connect.ts'
import { AppError } from '../shared/errors.ts'
import { announceSwitch } from './announce-switch.ts'
import { followAtStripe } from './follow-at-stripe.ts'
import { countOff } from './turn-off-vouchers.ts'
import type { Voucher } from './voucher.ts'
import { lockBatch } from './voucher-batch.ts'
import { getVoucher } from './voucher-store.ts'

/**
 * How many codes of a purchase must be off, by the money that went back: every one of a refunded
 * purchase. Implemented in purchases/. It must lock the purchase until the transaction ends, so that
 * no refund arrives between the answer and what is decided on it.
 */
export type RequiredOff = (
  trx: Tx,
  ref: { conferenceId: string; purchaseId: string },
) => Promise<number>

/**
 * Turns one code off by hand. One that is off already stays as it is.
 *
 * @throws AppError `not_found`
 */
export async function deactivateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
): Promise<Voucher> {
  const { id, batchId, purchaseId } = await getVoucher(trx, conferenceId, code)
  await lockBatch(trx, conferenceId, batchId)
  const count = await trx('vouchers')
    .where({ conference_id: conferenceId, id, deactivated_by: null })
    .update({ deactivated_by: 'staff', deactivated_at: trx.fn.now() })
  const where = { conferenceId, batchId, purchaseId }
  await announceSwitch(trx, 'vouchers.deactivated', where, count, 'staff')
  await followAtStripe(trx, where)
  return getVoucher(trx, conferenceId, code)
}

/**
 * Turns one code on again. One that is active already stays as it is.
 *
 * @throws AppError `not_found`; `voucher_refunded` when more codes would then be on than are paid
 * for; `wrong_state` for a code that a refund or dispute under way has frozen.
 */
export async function activateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
  requiredOff: RequiredOff,
): Promise<Voucher> {
  const { id, batchId, purchaseId } = await getVoucher(trx, conferenceId, code)
  // The purchase first, then the batch: the order in which a refund locks them.
  const required = purchaseId === null ? 0 : await requiredOff(trx, { conferenceId, purchaseId })
  await lockBatch(trx, conferenceId, batchId)
  const voucher = await getVoucher(trx, conferenceId, code)
  if (voucher.state === 'active') return voucher
  if (voucher.state === 'frozen') throw frozen()
  const { off } = await countOff(trx, { conferenceId, batchId })
  if (off - 1 < required) throw paidBack(required, off)
  await trx('vouchers')
    .where({ conference_id: conferenceId, id })
    .update({ deactivated_by: null, deactivated_at: null })
  await announceSwitch(trx, 'vouchers.activated', { conferenceId, batchId, purchaseId }, 1, 'staff')
  await followAtStripe(trx, { conferenceId, batchId })
  return getVoucher(trx, conferenceId, code)
}

function frozen(): AppError {
  return new AppError(
    'wrong_state',
    'The voucher is frozen while a refund or dispute of its purchase is under way.',
    { extra: { state: 'frozen', allowed_actions: ['deactivate'] } },
  )
}

function paidBack(required: number, off: number): AppError {
  return new AppError(
    'voucher_refunded',
    `The purchase was paid back so far that ${required} of its codes must be off; ${off} are.`,
    { extra: { required_off: required, off } },
  )
}

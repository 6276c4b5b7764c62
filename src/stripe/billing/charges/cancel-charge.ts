import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { AppError } from '../../../shared/errors.ts'
import { assertUnpaid } from './begin-attempt.ts'
import type { ChargeRef } from './charge.ts'
import { isPayable, listAttempts, updateAttempt } from './charge-attempt.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { lockCharge, updateCharge } from './charge-store.ts'
import { closeAttempt } from './close-attempt.ts'

/** Refuses early what cannot be given up any more. @throws AppError `wrong_state`, `not_found` */
export async function beginCancel(trx: Tx, ref: ChargeRef): Promise<void> {
  const charge = await lockCharge(trx, ref)
  if (charge.status !== 'canceled') assertUnpaid('cancel', charge)
}

/**
 * Gives an unpaid charge up: whatever could still be paid is closed at Stripe first.
 *
 * @throws AppError `payment_in_progress` when it was paid meanwhile, `stripe_…`
 */
export async function finishCancel(deps: ChargeDeps, ref: ChargeRef): Promise<void> {
  const payable = await withTenant(deps.db, ref, async (trx) =>
    (await listAttempts(trx, ref)).find(isPayable),
  )
  if (payable !== undefined) await closeAttempt(deps, ref, payable.attempt)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    if (charge.status === 'canceled') return
    assertUnpaid('cancel', charge)
    if (payable !== undefined) {
      const state = payable.params.kind === 'checkout' ? 'expired' : 'canceled'
      await updateAttempt(trx, ref, payable.attempt, { state })
    }
    if ((await listAttempts(trx, ref)).some(isPayable)) {
      throw new AppError('payment_in_progress', 'Somebody began to charge it meanwhile.')
    }
    await updateCharge(trx, ref, { status: 'canceled' })
  })
}

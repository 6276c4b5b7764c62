import type { Tx } from '../../../db/connect.ts'
import { AppError, notFound } from '../../../shared/errors.ts'
import { orNull } from '../../stripe-errors.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { resource, StripeCouponAction } from '../../sync/resources/coupons.ts'
import { type Asker, beginChange, finishChange } from './discount-change.ts'
import {
  assertMirrored,
  type DiscountDeps,
  promptContext,
  readForChange,
  storeDeletion,
  storedRow,
} from './mirrored-answer.ts'

/**
 * Writes down that the coupon is to go, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `not_found` for what the mirror does not have.
 */
export async function beginDeleteCoupon(trx: Tx, asker: Asker, id: string): Promise<string> {
  await assertMirrored(trx, asker.conferenceId, resource, id)
  return beginChange(trx, asker, { kind: 'coupon', action: 'delete', object_id: id, params: {} })
}

/**
 * Deletes the coupon at Stripe; what stays here is a tombstone. One that is deleted already stays
 * as it is.
 *
 * @returns the coupon's id.
 * @throws AppError `not_found` for one that never was here, and for another conference's; `wrong_state`
 * for that of published vouchers; `stripe_…`.
 */
export function finishDeleteCoupon(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return finishChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripeCouponAction(promptContext(deps, conferenceId))
    // Never by its id alone: under it may stand another conference's by now.
    const coupon = await readForChange(action, id)
    if (coupon === null) {
      const left = await storedRow(action, id)
      if (left === null || left.deleted_at === null) throw notFound('coupon')
      return id
    }
    // For good: Stripe brings neither back, and the codes may be paid for.
    if (coupon.metadata?.['voucher_batch'] !== undefined) {
      throw new AppError(
        'wrong_state',
        'Published vouchers stand for this coupon: deactivate the vouchers instead.',
      )
    }
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await readingTime(deps.db)
    await orNull(() => stripe.coupons.del(id))
    await storeDeletion(action, id, readAt)
    return id
  })
}

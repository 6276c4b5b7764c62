import type { Tx } from '../../../db/connect.ts'
import { notFound } from '../../../shared/errors.ts'
import { orNull } from '../../stripe-errors.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { StripeCouponAction } from '../../sync/resources/coupons.ts'
import { type Asker, beginChange, finishChange } from './discount-change.ts'
import {
  type DiscountDeps,
  promptContext,
  readForChange,
  storeDeletion,
  storedRow,
} from './mirrored-answer.ts'

/** Writes down that the coupon is to go, before Stripe is asked. @returns the change's id. */
export function beginDeleteCoupon(trx: Tx, asker: Asker, id: string): Promise<string> {
  return beginChange(trx, asker, { kind: 'coupon', action: 'delete', object_id: id, params: {} })
}

/**
 * Deletes the coupon at Stripe; what stays here is a tombstone. One that is deleted already stays
 * as it is.
 *
 * @returns the coupon's id.
 * @throws AppError `not_found` for one that never was here, and for another conference's; `stripe_…`.
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
    if ((await readForChange(action, id)) === null) {
      const left = await storedRow(action, id)
      if (left === null || left.deleted_at === null) throw notFound('coupon')
      return id
    }
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await readingTime(deps.db)
    await orNull(() => stripe.coupons.del(id))
    await storeDeletion(action, id, readAt)
    return id
  })
}

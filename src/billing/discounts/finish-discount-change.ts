import { AppError, isFinalRefusal } from '../../shared/errors.ts'
import type { BillingDeps } from '../billing-deps.ts'
import { loadChange } from './discount-change.ts'
import { runCouponChange } from './write-coupon.ts'
import { runPromotionCodeChange } from './write-promotion-code.ts'

/**
 * Runs a recorded change of a coupon or promotion code, unless it already succeeded. It may be repeated
 * after a crash or an unknown outcome, and it may run concurrently. A refusal is final.
 *
 * @returns the object's id.
 * @throws AppError `stripe_refused` for a change that was refused before; see `runCouponChange` and
 *   `runPromotionCodeChange`.
 */
export async function finishDiscountChange(
  deps: BillingDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  const change = await loadChange(deps.db, conferenceId, changeId)
  if (change.state === 'refused') {
    throw new AppError('stripe_refused', change.refusal ?? 'Stripe refused the change.')
  }
  if (change.state === 'accepted' && change.object_id !== null) return change.object_id
  return change.kind === 'coupon'
    ? runCouponChange(deps, conferenceId, change)
    : runPromotionCodeChange(deps, conferenceId, change)
}

/**
 * The job of a change whose outcome may be unknown.
 *
 * @throws AppError `stripe_…` after an unknown outcome; then the job is retried.
 */
export async function resumeDiscountChange(
  deps: BillingDeps,
  conferenceId: string,
  changeId: string,
): Promise<void> {
  try {
    await finishDiscountChange(deps, conferenceId, changeId)
  } catch (error) {
    // A refusal is recorded.
    if (!isFinalRefusal(error)) throw error
  }
}

import {
  type DiscountDeps,
  promptContext,
  viewStored,
} from '../stripe/billing/coupons/mirrored-answer.ts'
import type { MirrorBody } from '../stripe/sync/mirror-body.ts'
import { StripeCouponAction } from '../stripe/sync/resources/coupons.ts'

/** The mirror's row of a coupon, as the API shows it. */
export function viewCoupon(
  deps: DiscountDeps,
  conferenceId: string,
  id: string,
): Promise<MirrorBody> {
  return viewStored(new StripeCouponAction(promptContext(deps, conferenceId)), id)
}

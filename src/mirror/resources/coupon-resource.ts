import type Stripe from 'stripe'
import { bigint, boolean, json, numeric, text, timestamp } from '../mirror-column.ts'
import type { StripeResource, SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'

/** Fields that Stripe only returns when they are expanded. */
export const COUPON_EXPANSIONS = ['applies_to', 'currency_options'] as const

const LISTED = COUPON_EXPANSIONS.map((member) => `data.${member}`)

/** @see https://docs.stripe.com/api/coupons/object */
export const resource: StripeResource<Stripe.Coupon> = {
  name: 'coupons',
  description: 'A discount that can be applied to payments of a customer.',
  objects: ['coupon'],
  // The creator can choose the id, and can reuse the id of a deleted coupon.
  idPrefixes: [],
  columns: {
    name: text((coupon) => coupon.name),
    amount_off: bigint((coupon) => coupon.amount_off),
    currency: text((coupon) => coupon.currency),
    percent_off: numeric((coupon) => coupon.percent_off),
    duration: text((coupon) => coupon.duration),
    duration_in_months: bigint((coupon) => coupon.duration_in_months),
    max_redemptions: bigint((coupon) => coupon.max_redemptions),
    redeem_by: timestamp((coupon) => coupon.redeem_by),
    times_redeemed: bigint((coupon) => coupon.times_redeemed),
    valid: boolean((coupon) => coupon.valid),
    applies_to: json((coupon) => coupon.applies_to),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.coupons.list({ ...params, expand: [...LISTED] }),
  },
  deletable: true,
  retrieve: (stripe, id) => stripe.coupons.retrieve(id, { expand: [...COUPON_EXPANSIONS] }),
  createAction: (context) => new StripeCouponAction(context),
}

/** Mirrors coupons. */
export class StripeCouponAction extends StripeSyncAction<Stripe.Coupon> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}

import type Stripe from 'stripe'
import { countUsesAtStripe } from '../../vouchers/published-vouchers.ts'
import { bigint, boolean, reference, text, timestamp } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as coupons } from './coupon-resource.ts'
import { resource as customers } from './customer-resource.ts'

/** Before API version 2025-09-30, promotion codes had a `coupon` field. */
type Older = { coupon?: string | Stripe.Coupon | null }

function couponOf(code: Stripe.PromotionCode): string | Stripe.Coupon | null | undefined {
  const older: Stripe.PromotionCode & Older = code
  return older.promotion?.coupon ?? older.coupon
}

/** @see https://docs.stripe.com/api/promotion_codes/object */
export const resource: StripeResource<Stripe.PromotionCode> = {
  name: 'promotion-codes',
  description: 'A code that customers enter to use a coupon.',
  objects: ['promotion_code'],
  idPrefixes: ['promo_'],
  columns: {
    code: text((code) => code.code, { indexed: true }),
    active: boolean((code) => code.active),
    coupon: reference(couponOf),
    customer: reference((code) => code.customer),
    expires_at: timestamp((code) => code.expires_at),
    max_redemptions: bigint((code) => code.max_redemptions),
    times_redeemed: bigint((code) => code.times_redeemed),
    first_time_transaction: boolean((code) => code.restrictions?.first_time_transaction),
    minimum_amount: bigint((code) => code.restrictions?.minimum_amount),
    minimum_amount_currency: text((code) => code.restrictions?.minimum_amount_currency),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.promotionCodes.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.promotionCodes.retrieve(id),
  followUpCtes: countUsesAtStripe,
  references: (code) => referencesTo([coupons, couponOf(code)], [customers, code.customer]),
  belongsTo: (code) => [
    [coupons, couponOf(code)],
    [customers, code.customer],
  ],
  createAction: (context) => new StripePromotionCodeAction(context),
}

/** Mirrors promotion codes. */
export class StripePromotionCodeAction extends StripeSyncAction<Stripe.PromotionCode> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}

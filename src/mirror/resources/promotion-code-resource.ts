import type Stripe from 'stripe'
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

/**
 * Counts the uses of published vouchers: those recorded here before publication plus those at Stripe.
 * Locks the vouchers in the same order as a refund does.
 */
const usesOfVouchers = (conferenceId: string) => `used as (
    select v.id, given.times_redeemed + (
        select count(*) from redemptions r
        where r.conference_id = v.conference_id and r.voucher_id = v.id and r.released_at is null
      ) as times
    from written
    join given using (id)
    join published_vouchers p
      on p.conference_id = ${conferenceId} and p.promotion_code_id = written.id
    join vouchers v on v.conference_id = p.conference_id and v.id = p.voucher_id
    order by v.batch_id, v.ordinal desc
    for no key update of v
  ), counted_uses as (
    update vouchers v set times_used = least(v.max_uses, used.times) from used
    where v.conference_id = ${conferenceId} and v.id = used.id
      and v.times_used is distinct from least(v.max_uses, used.times)
  )`

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
  followUpCtes: usesOfVouchers,
  references: (code) => referencesTo([coupons, couponOf(code)], [customers, code.customer]),
  createAction: (context) => new StripePromotionCodeAction(context),
}

/** Mirrors promotion codes. */
export class StripePromotionCodeAction extends StripeSyncAction<Stripe.PromotionCode> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}

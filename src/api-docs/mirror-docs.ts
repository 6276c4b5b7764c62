import type { ApiDocs } from '../http/openapi/operation-docs.ts'

const COUPON = {
  id: 'SPRING-25',
  object: 'coupon',
  livemode: false,
  as_of: '2027-01-20T08:00:03.412Z',
  deleted_at: null,
  created: '2027-01-15T09:30:00.000Z',
  name: 'A quarter off in spring',
  amount_off: null,
  currency: null,
  percent_off: 25,
  duration: 'once',
  duration_in_months: null,
  max_redemptions: 100,
  redeem_by: '2027-04-30T22:00:00.000Z',
  times_redeemed: 12,
  valid: true,
  applies_to: null,
  metadata: { campaign: 'spring' },
  data: {
    id: 'SPRING-25',
    object: 'coupon',
    amount_off: null,
    created: 1_800_005_400,
    currency: null,
    duration: 'once',
    duration_in_months: null,
    livemode: false,
    max_redemptions: 100,
    metadata: { campaign: 'spring' },
    name: 'A quarter off in spring',
    percent_off: 25,
    redeem_by: 1_809_122_400,
    times_redeemed: 12,
    valid: true,
  },
}

const DELETED = {
  ...COUPON,
  as_of: '2027-02-01T08:00:02.908Z',
  deleted_at: '2027-02-01T08:00:02.908Z',
}

/** Of one resource as an example; the words of all come from their definitions. */
export const MIRROR_DOCS: ApiDocs = {
  listStripeCoupons: {
    answers: { page: { value: { data: [COUPON], has_more: false, next_cursor: null } } },
  },
  getStripeCoupon: {
    answers: {
      living: { summary: 'Stripe has it', value: COUPON },
      deleted: { summary: 'Stripe has it no more', value: DELETED },
    },
  },
}

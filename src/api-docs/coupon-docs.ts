import type { ApiDocs } from '../http/openapi/operation-docs.ts'

const STRIPE = [
  'stripe_key_missing',
  'stripe_refused',
  'stripe_failed',
  'stripe_unavailable',
] as const

export const COUPON_DOCS: ApiDocs = {
  createStripeCoupon: {
    problems: ['already_exists', ...STRIPE],
    requests: {
      percent: {
        summary: 'A quarter off, for a hundred customers',
        value: {
          id: 'SPRING-25',
          percent_off: 25,
          max_redemptions: 100,
          redeem_by: '2027-04-30T22:00:00Z',
          name: 'A quarter off in spring',
        },
      },
      amount: {
        summary: 'Ten euros off for three months',
        value: {
          amount_off: 1000,
          currency: 'EUR',
          duration: 'repeating',
          duration_in_months: 3,
        },
      },
    },
  },
  updateStripeCoupon: {
    problems: STRIPE,
    requests: {
      rename: { value: { name: 'Late spring', metadata: { campaign: 'spring', batch: null } } },
    },
  },
  deleteStripeCoupon: { problems: STRIPE },
}

import type { ApiDocs } from '../http/openapi/operation-docs.ts'

const STRIPE = [
  'stripe_key_missing',
  'stripe_refused',
  'stripe_failed',
  'stripe_unavailable',
] as const

const PUBLICATION = {
  id: 'pub_8dKs3LmQx1RvT6YhNzWcB',
  object: 'voucher_publication',
  batch: 'vb_8sLx3CqY6dGn',
  state: 'done',
  coupon: 'jMT0WJUD',
  total: 200,
  published: 200,
  off: 20,
  pending: 0,
  failed: 0,
  times_redeemed: 57,
  errors: [],
  error: null,
  published_by: 'key_7zPn5XtB1rLc',
  created_at: '2027-02-01T08:00:00.120Z',
  updated_at: '2027-02-01T08:00:21.480Z',
}

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
  deleteStripeCoupon: { problems: ['wrong_state', ...STRIPE] },
  createStripePromotionCode: {
    problems: STRIPE,
    requests: {
      friends: {
        summary: 'For fifty first-time customers who pay at least 40 euros',
        value: {
          coupon: 'SPRING-25',
          code: 'FRIENDS-OF-ADA',
          max_redemptions: 50,
          restrictions: {
            first_time_transaction: true,
            minimum_amount: 4000,
            minimum_amount_currency: 'EUR',
          },
        },
      },
    },
  },
  updateStripePromotionCode: {
    problems: ['wrong_state', ...STRIPE],
    requests: { off: { summary: 'Turn it off', value: { active: false } } },
  },
  listDiscountChanges: {
    answers: {
      page: {
        value: {
          data: [
            {
              id: 'dc_5kTr8QmZx2LwV9NcYbHaE',
              object: 'discount_change',
              kind: 'coupon',
              action: 'update',
              object_id: 'SPRING-25',
              params: { name: 'Late spring' },
              state: 'accepted',
              refusal: null,
              actor: { kind: 'staff', id: 'key_7zPn5XtB1rLc' },
              created_at: '2027-02-01T08:00:00.120Z',
              updated_at: '2027-02-01T08:00:00.480Z',
            },
          ],
          has_more: false,
          next_cursor: null,
        },
      },
    },
  },
  publishVoucherBatch: {
    problems: ['wrong_state', 'stripe_key_missing'],
    requests: {
      tickets: { summary: 'For one product', value: { products: ['prod_NWjs8kKbJWmuuc'] } },
    },
    answers: {
      begun: {
        value: {
          ...PUBLICATION,
          state: 'running',
          published: 0,
          off: 0,
          pending: 200,
          times_redeemed: 0,
        },
      },
    },
  },
  getVoucherPublication: {
    answers: { refunded: { summary: 'A tenth was paid back', value: PUBLICATION } },
  },
}

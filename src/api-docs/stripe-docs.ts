import type { ApiDocs } from '../http/openapi/api-document.ts'
import { STRIPE_PROBLEMS } from '../http/openapi/shared-components.ts'

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

const DISCOUNT_CHANGE = {
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
}

/** They read from Stripe. */
export const PAYOUT_DOCS: ApiDocs = {
  listPayouts: { problems: STRIPE_PROBLEMS },
  reconcilePayout: { problems: STRIPE_PROBLEMS },
  reportBalance: { problems: STRIPE_PROBLEMS },
}

export const COUPON_EXAMPLES = {
  DiscountChange: DISCOUNT_CHANGE,
  VoucherPublication: PUBLICATION,
}

export const COUPON_DOCS: ApiDocs = {
  createStripeCoupon: {
    problems: ['already_exists', ...STRIPE_PROBLEMS],
    requests: {
      percent: {
        summary: '25 % off, for a hundred customers',
        value: {
          id: 'SPRING-25',
          percent_off: 25,
          max_redemptions: 100,
          redeem_by: '2027-04-30T22:00:00Z',
          name: '25 % off in spring',
        },
      },
      amount: {
        summary: '10 EUR off each month for three months',
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
    problems: STRIPE_PROBLEMS,
    requests: {
      rename: { value: { name: 'Late spring', metadata: { campaign: 'spring', batch: null } } },
    },
  },
  deleteStripeCoupon: { problems: ['wrong_state', ...STRIPE_PROBLEMS] },
  createStripePromotionCode: {
    problems: STRIPE_PROBLEMS,
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
    problems: ['wrong_state', ...STRIPE_PROBLEMS],
    requests: { off: { summary: 'Deactivate', value: { active: false } } },
  },
  publishVoucherBatch: {
    problems: ['wrong_state', 'stripe_key_missing'],
    requests: {
      tickets: { summary: 'Valid for one product', value: { products: ['prod_NWjs8kKbJWmuuc'] } },
    },
  },
}

const MIRRORED_COUPON = {
  id: 'SPRING-25',
  object: 'coupon',
  livemode: false,
  as_of: '2027-01-20T08:00:03.412Z',
  deleted_at: null,
  created: '2027-01-15T09:30:00.000Z',
  name: '25 % off in spring',
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
    name: '25 % off in spring',
    percent_off: 25,
    redeem_by: 1_809_122_400,
    times_redeemed: 12,
    valid: true,
  },
}

const RUN = {
  id: 'sync_2fG7hQx0RkLmN4pTyVbWz',
  object: 'sync_run',
  resource: 'coupons',
  state: 'succeeded',
  started_by: 'api',
  ids: null,
  since: null,
  force: false,
  dry_run: false,
  counts: { fetched: 212, created: 3, updated: 1, unchanged: 208, deleted: 1, failed: 0 },
  requests: 4,
  duration_seconds: 0.91,
  details: [{ id: 'WINTER-10', outcome: 'deleted', message: null }],
  error: null,
  created_at: '2027-02-01T08:00:00.120Z',
  started_at: '2027-02-01T08:00:00.410Z',
  finished_at: '2027-02-01T08:00:01.320Z',
}

const REFUSED = {
  ...RUN,
  state: 'failed',
  error: {
    code: 'mass_deletion_refused',
    message:
      'At least 43 of 212 objects no longer exist at Stripe. Nothing was marked as deleted. Check the Stripe key. If the objects were really deleted, repeat the sync with `force`.',
    stripe_request_id: null,
  },
}

/** The rows of the mirror, of which coupons are the example, and the runs that refresh them. */
export const MIRROR_EXAMPLES = { MirroredCoupon: MIRRORED_COUPON, SyncRun: RUN }

export const MIRROR_DOCS: ApiDocs = {
  syncStripeObjects: {
    problems: ['sync_running'],
    requests: {
      all: { summary: 'Everything', value: {} },
      dry: { summary: 'Report what a sync would change', value: { dry_run: true } },
    },
  },
  getSyncRun: {
    answers: {
      refused: { summary: 'Too many objects would have been deleted', value: REFUSED },
    },
  },
  cancelSyncRun: { problems: ['wrong_state'] },
}

const DRIFT_LINES = [
  {
    kind: 'different',
    what: 'purchase',
    purchase: 'bp_V1StGXR8Z5jdHi6BmyT7a',
    stripe_id: 'cs_test_a1b2c3',
    resource: 'checkout-sessions',
    field: 'status',
    here: 'PROCESSING',
    there: 'paid',
    compared_with: 'mirror',
    repair: {
      command:
        'npx sponsor-vouchers purchases:reconcile bp_V1StGXR8Z5jdHi6BmyT7a --conference pycon-2027',
      request: {
        method: 'POST',
        path: '/v1/conferences/pycon-2027/purchases/bp_V1StGXR8Z5jdHi6BmyT7a/reconcile',
      },
    },
  },
  {
    kind: 'missing',
    what: 'refund',
    purchase: 'bp_8hQx0RkLmN4pTyVbWz2fG',
    stripe_id: 're_3Pabc',
    resource: 'refunds',
    field: null,
    here: 'succeeded',
    there: null,
    compared_with: 'mirror',
    repair: {
      command: 'npx sponsor-vouchers sync refunds --conference pycon-2027 --ids re_3Pabc',
      request: {
        method: 'POST',
        path: '/v1/conferences/pycon-2027/stripe/refunds/sync',
        body: { ids: ['re_3Pabc'] },
      },
    },
  },
]

const SYNCED = { synced_at: '2027-02-01T03:00:00.120Z', repair: null }

export const DRIFT_DOCS: ApiDocs = {
  listStripeDrift: {
    answers: {
      page: {
        value: {
          data: DRIFT_LINES,
          has_more: false,
          next_cursor: null,
          summary: { missing: 1, extra: 0, different: 1 },
          mirror: {
            payment_intents: SYNCED,
            refunds: SYNCED,
            disputes: SYNCED,
            checkout_sessions: SYNCED,
          },
        },
      },
    },
  },
}

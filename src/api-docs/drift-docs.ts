import type { ApiDocs } from '../http/openapi/operation-docs.ts'

const LINES = [
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

/** Of the comparison with the mirror. */
export const DRIFT_DOCS: ApiDocs = {
  listStripeDrift: {
    answers: {
      page: {
        value: {
          data: LINES,
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

import type { ApiDocs } from '../http/openapi/operation-docs.ts'

const VOUCHER = {
  code: 'BULK-ACME-7KQ2M9XWPT4A',
  object: 'voucher',
  batch: 'vb_8sLx3CqY6dGn',
  purchase: 'bp_3hTq8ZsW1nLd',
  state: 'active',
  valid: true,
  invalid_reason: null,
  times_used: 0,
  max_uses: 1,
  valid_from: null,
  valid_until: '2027-06-01T00:00:00.000Z',
  voucher_type: 'comp',
  discount_value: 100,
  unlocks_hidden_tickets: false,
  ticket_type: 'tkt_6xKq2mVb9TzR',
  add_on: null,
  assigned_to: null,
  created_at: '2027-01-15T09:34:12.000Z',
}

const USED_UP = { ...VOUCHER, times_used: 1, valid: false, invalid_reason: 'used_up' }

const REDEMPTION = {
  id: 'red_4vJd9HsA2kMw',
  object: 'redemption',
  voucher: VOUCHER.code,
  batch: VOUCHER.batch,
  purchase: VOUCHER.purchase,
  reference: 'order-1042',
  redeemed_by: 'key_7zPn5XtB1rLc',
  created_at: '2027-03-02T18:11:09.000Z',
  released_at: null,
  released_by: null,
}

const page = (value: unknown) => ({ data: [value], has_more: false, next_cursor: null })

export const VOUCHER_DOCS: ApiDocs = {
  listVouchers: { answers: { page: { value: page(VOUCHER) } } },
  listPurchaseVouchers: { answers: { page: { value: page(VOUCHER) } } },
  getVoucher: {
    answers: {
      valid: { summary: 'It can be redeemed now', value: VOUCHER },
      used_up: { summary: 'It cannot, and why', value: USED_UP },
    },
  },
  updateVoucher: { requests: { assign: { value: { assigned_to: 'Ada Lovelace' } } } },
  activateVoucher: { problems: ['voucher_refunded', 'wrong_state'] },
  createVoucherBatch: {
    requests: {
      speakers: {
        summary: 'Twenty free tickets for speakers',
        value: { count: 20, voucher_type: 'comp', prefix: 'SPEAKER-', max_uses: 1 },
      },
    },
  },
  redeemVoucher: {
    problems: ['voucher_invalid', 'published'],
    requests: { order: { summary: 'One use for one order', value: { reference: 'order-1042' } } },
    answers: { redemption: { value: REDEMPTION } },
  },
  releaseRedemption: {
    answers: {
      released: {
        summary: 'The order was cancelled; the use is free again',
        value: {
          ...REDEMPTION,
          released_at: '2027-03-04T08:00:00.000Z',
          released_by: 'key_7zPn5XtB1rLc',
        },
      },
    },
  },
}

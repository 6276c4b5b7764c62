import type { ApiDocs, RawBody } from '../http/openapi/api-document.ts'

const PENDING = {
  id: 'bp_3hTq8ZsW1nLd',
  object: 'bulk_purchase',
  conference: 'conf_9aYw4PcE7uKs',
  sponsor: 'spon_5mNf1RbX8vJh',
  sponsor_name: 'ACME',
  status: 'PENDING',
  quantity: 40,
  unit_amount: 10_000,
  total_amount: 400_000,
  amount_received: 0,
  amount_refunded: 0,
  currency: 'EUR',
  description: '40 × Conference ticket voucher codes',
  reference: 'PO-2027-118',
  ticket_type: 'tkt_6xKq2mVb9TzR',
  add_on: null,
  ticket_name: 'Conference ticket',
  voucher_config: {
    voucher_type: 'comp',
    discount_value: 100,
    max_uses: 1,
    valid_from: null,
    valid_until: '2027-06-01T00:00:00.000Z',
    unlocks_hidden_tickets: false,
    prefix: 'BULK-ACME-',
  },
  checkout: null,
  payment_intent: null,
  recorded_payment: null,
  failure: null,
  vouchers: { issued: 0, active: 0, frozen: 0, deactivated: 0, redeemed: 0, remaining: 0 },
  flags: [],
  allowed_actions: ['update', 'checkout', 'cancel'],
  requested_by: 'key_2bRk7WcT4pQx',
  requested_by_name: 'ACME order system',
  approved_by: null,
  approved_by_name: null,
  created_at: '2027-01-15T09:30:00.000Z',
  updated_at: '2027-01-15T09:30:00.000Z',
  paid_at: null,
  refunded_at: null,
}

const CHECKOUT = {
  url: 'https://checkout.stripe.com/c/pay/cs_test_a1B2c3',
  session_id: 'cs_test_a1B2c3',
  expires_at: '2027-01-16T09:31:00.000Z',
}

const PAID = {
  ...PENDING,
  status: 'PAID',
  amount_received: 400_000,
  checkout: {
    session_id: CHECKOUT.session_id,
    url: null,
    expires_at: CHECKOUT.expires_at,
    attempt: 1,
  },
  payment_intent: 'pi_3Qx7Lm',
  vouchers: { issued: 40, active: 40, frozen: 0, deactivated: 0, redeemed: 3, remaining: 37 },
  allowed_actions: ['refund', 'reconcile'],
  updated_at: '2027-01-15T09:34:12.000Z',
  paid_at: '2027-01-15T09:34:12.000Z',
}

const PARTLY_REFUNDED = {
  ...PAID,
  amount_refunded: 100_000,
  vouchers: { issued: 40, active: 30, frozen: 0, deactivated: 10, redeemed: 3, remaining: 27 },
  updated_at: '2027-02-01T14:05:40.000Z',
}

const STRIPE = ['stripe_key_rejected', 'stripe_failed', 'stripe_unavailable'] as const

export const PURCHASE_EXAMPLES = { Purchase: PAID, Checkout: CHECKOUT }

export const PURCHASE_DOCS: ApiDocs = {
  createPurchase: {
    requests: {
      sponsor: {
        summary: 'A sponsor buys 40 vouchers for a ticket type',
        value: { ticket_type: 'tkt_6xKq2mVb9TzR', quantity: 40, reference: 'PO-2027-118' },
      },
      staff: {
        summary: 'Staff sell a sponsor something that is not in the catalogue',
        value: {
          sponsor: 'acme',
          quantity: 5,
          unit_amount: 25_000,
          description: 'Workshop seats',
          voucher_config: { voucher_type: 'percentage', discount_value: 50, max_uses: 1 },
        },
      },
    },
    answers: { pending: { summary: 'Not paid yet', value: PENDING } },
  },
  updatePurchase: {
    problems: ['wrong_state'],
    requests: { quantity: { value: { quantity: 50 } } },
  },
  checkoutPurchase: {
    problems: [
      'wrong_state',
      'payment_in_progress',
      'stripe_key_missing',
      'stripe_refused',
      ...STRIPE,
    ],
    requests: {
      urls: {
        summary: 'The pages to which Stripe redirects the payer',
        value: {
          success_url: 'https://example.org/thanks?session={CHECKOUT_SESSION_ID}',
          cancel_url: 'https://example.org/vouchers',
        },
      },
    },
  },
  payPurchase: {
    problems: [
      'wrong_state',
      'payment_in_progress',
      'no_payment_method',
      'authentication_required',
      'stripe_key_missing',
      'stripe_refused',
      ...STRIPE,
    ],
    requests: {
      default: { summary: 'The default card', value: {} },
      named: { summary: 'Another card', value: { payment_method: 'pm_1QxLm3' } },
    },
    answers: {
      declined: {
        summary: 'The bank declined the card',
        value: {
          ...PENDING,
          status: 'FAILED',
          failure: { code: 'insufficient_funds', message: 'Your card has insufficient funds.' },
          allowed_actions: ['checkout', 'reconcile'],
        },
      },
    },
  },
  cancelPurchase: {
    problems: [
      'wrong_state',
      'payment_in_progress',
      'stripe_key_missing',
      'stripe_refused',
      ...STRIPE,
    ],
  },
  approvePurchase: { problems: ['wrong_state'] },
  revokePurchase: {
    problems: ['wrong_state'],
    requests: {
      mistake: {
        summary: 'With the reason for the history',
        value: { note: 'Sent to the wrong sponsor' },
      },
    },
  },
  markPurchasePaid: {
    problems: [
      'wrong_state',
      'payment_in_progress',
      'stripe_key_missing',
      'stripe_refused',
      ...STRIPE,
    ],
    requests: {
      transfer: {
        summary: 'A bank transfer',
        value: {
          amount: 400_000,
          method: 'bank_transfer',
          reference: 'RE-2027-118',
          paid_at: '2027-01-20T00:00:00.000Z',
        },
      },
    },
  },
  reconcilePurchase: {
    problems: ['stripe_key_missing', 'stripe_refused', ...STRIPE],
    requests: {
      known: { summary: 'The payments that this service opened', value: {} },
      taken_by_hand: {
        summary: 'Also a payment whose metadata names the purchase',
        value: { payment_intent: 'pi_3PabcDEF' },
      },
    },
  },
  resolvePurchaseFlag: {
    problems: ['wrong_state'],
    requests: {
      accept: {
        summary: 'Accept the amount that was paid as the price',
        value: {
          code: 'amount_mismatch',
          note: 'Agreed by mail on 3 February',
          action: 'accept_payment',
        },
      },
    },
  },
  createPurchaseNote: {
    requests: {
      note: {
        summary: 'What the sponsor said',
        value: { note: 'They pay after their board meeting on 12 February' },
      },
    },
  },
  refundPurchase: {
    problems: [
      'wrong_state',
      'voucher_redeemed',
      'stripe_key_missing',
      'stripe_refused',
      ...STRIPE,
    ],
    requests: {
      codes: {
        summary: 'Two codes that the sponsor returns',
        value: { codes: ['BULK-ACME-7KQ2M9XWPT4A', 'BULK-ACME-9DT3V6RKMB8H'] },
      },
      quantity: { summary: 'The price of ten vouchers', value: { quantity: 10 } },
      part: {
        summary: 'An amount',
        value: { amount: 100_000, reason: 'requested_by_customer' },
      },
      all: { summary: 'The whole amount that is not refunded yet', value: {} },
    },
    answers: {
      part: { summary: 'Ten unused codes were deactivated', value: PARTLY_REFUNDED },
      preview: {
        summary: 'With dry_run=true',
        value: {
          object: 'refund_preview',
          payment_intent: 'pi_3Qx7Lm',
          amount: 20_000,
          currency: 'EUR',
          quantity: 2,
          codes: ['BULK-ACME-7KQ2M9XWPT4A', 'BULK-ACME-9DT3V6RKMB8H'],
          has_more: false,
          missing: 0,
        },
      },
    },
  },
}

const VOUCHER = {
  code: 'BULK-ACME-7KQ2M9XWPT4A',
  object: 'voucher',
  batch: 'vb_8sLx3CqY6dGn',
  purchase: 'bp_3hTq8ZsW1nLd',
  state: 'active',
  valid: true,
  invalid_reason: null,
  times_used: 0,
  uses_held: 0,
  max_uses: 1,
  valid_from: null,
  valid_until: '2027-06-01T00:00:00.000Z',
  voucher_type: 'comp',
  discount_value: 100,
  unlocks_hidden_tickets: false,
  ticket_type: 'tkt_6xKq2mVb9TzR',
  add_on: null,
  assigned_to: {
    email: 'ada@acme.example',
    name: 'Ada Lovelace',
    assigned_at: '2027-01-20T10:12:00.000Z',
    sent_at: '2027-01-20T10:12:03.000Z',
  },
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
  status: 'redeemed',
  redeemed_by: 'key_7zPn5XtB1rLc',
  created_at: '2027-03-02T18:11:09.000Z',
  expires_at: null,
  confirmed_at: null,
  released_at: null,
  released_by: null,
}

const PERSONS: RawBody = {
  type: 'text/csv',
  description:
    'At most 5,000 lines and 1 MB, in UTF-8, separated by commas, semicolons or tabs. The first line names the columns: `email`, and if wanted `name` and `code`. Columns of the export are ignored, so an exported file can be filled in and uploaded.',
  schema: { type: 'string', maxLength: 1_048_576 },
  example: 'email,name\nada@acme.example,Ada Lovelace\ngrace@acme.example,Grace Hopper\n',
}

const HOLD = { ...REDEMPTION, status: 'held', expires_at: '2027-03-02T18:26:09.000Z' }

export const VOUCHER_EXAMPLES = { Voucher: VOUCHER, Redemption: REDEMPTION }

export const VOUCHER_DOCS: ApiDocs = {
  getVoucher: {
    answers: {
      used_up: { summary: 'It cannot be redeemed: it is used up', value: USED_UP },
    },
  },
  assignVoucher: {
    problems: ['already_assigned', 'wrong_state'],
    requests: {
      anyone: { value: { email: 'ada@acme.example', name: 'Ada Lovelace' } },
      free: {
        summary: 'Only if no one has the voucher',
        value: { email: 'ada@acme.example', replaces: null },
      },
    },
  },
  unassignVoucher: { problems: ['wrong_state'] },
  sendVoucherAssignment: { problems: ['wrong_state'] },
  assignPurchaseVouchers: { problems: ['wrong_state'], rawBody: PERSONS },
  assignBatchVouchers: { problems: ['wrong_state'], rawBody: PERSONS },
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
    requests: {
      order: { summary: 'One use for one order', value: { reference: 'order-1042' } },
      hold: {
        summary: 'A use held for 15 minutes while the buyer checks out',
        value: { reference: 'order-1042', hold_seconds: 900 },
      },
    },
    answers: { held: { summary: 'The use is held', value: HOLD } },
  },
  confirmRedemption: {
    problems: ['voucher_invalid', 'published', 'hold_expired', 'wrong_state'],
    answers: {
      confirmed: {
        summary: 'The buyer paid before the hold ended',
        value: { ...HOLD, status: 'redeemed', confirmed_at: '2027-03-02T18:19:40.000Z' },
      },
    },
  },
  releaseRedemption: {
    answers: {
      released: {
        summary: 'The order was cancelled; the voucher can be used again',
        value: {
          ...REDEMPTION,
          status: 'released',
          released_at: '2027-03-04T08:00:00.000Z',
          released_by: 'key_7zPn5XtB1rLc',
        },
      },
    },
  },
}

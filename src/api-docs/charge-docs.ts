import type { ApiDocs } from '../http/openapi/operation-docs.ts'

const OPEN = {
  id: 'chg_4kTz9WmXr2Qb',
  object: 'charge',
  customer: 'cust_7Jk2mQx9RtVb',
  sponsor: 'spon_5mNf1RbX8vJh',
  status: 'open',
  amount: 120_000,
  currency: 'EUR',
  amount_received: 0,
  amount_refunded: 0,
  amount_refunding: 0,
  description: 'Booth 14, second invoice',
  statement_descriptor_suffix: 'BOOTH 14',
  comment: null,
  source_reference: 'INV-2027-118',
  manual: false,
  payment_method: null,
  payment_intent: null,
  failure: null,
  attempts: 0,
  checkout: null,
  created_by: 'key_2bRk7WcT4pQx',
  created_at: '2027-01-15T09:30:00.000Z',
  updated_at: '2027-01-15T09:30:00.000Z',
  succeeded_at: null,
}

const PAID = {
  ...OPEN,
  status: 'succeeded',
  amount_received: 120_000,
  payment_intent: 'pi_3Qx7Lm',
  attempts: 1,
  updated_at: '2027-01-15T09:31:02.000Z',
  succeeded_at: '2027-01-15T09:31:02.000Z',
}

const DECLINED = {
  ...OPEN,
  status: 'declined',
  attempts: 1,
  failure: { code: 'insufficient_funds', message: 'Your card has insufficient funds.' },
}

const LINK = {
  session_id: 'cs_test_a1B2c3',
  url: 'https://checkout.stripe.com/c/pay/cs_test_a1B2c3',
  expires_at: '2027-01-16T09:31:00.000Z',
}

const NEEDS_PAYER = {
  ...OPEN,
  status: 'requires_action',
  attempts: 2,
  failure: {
    code: 'authentication_required',
    message: 'Your card was declined. This transaction requires authentication.',
  },
  checkout: LINK,
}

const CANCELED = { ...OPEN, status: 'canceled' }

const PARTLY_BACK = { ...PAID, amount_refunded: 20_000 }

const ASKS_STRIPE = [
  'stripe_key_missing',
  'stripe_refused',
  'stripe_failed',
  'stripe_unavailable',
] as const

const PAYS = ['wrong_state', 'payment_in_progress', ...ASKS_STRIPE] as const

/** Words and examples of the charges' operations. */
export const CHARGE_DOCS: ApiDocs = {
  createCharge: {
    problems: ['already_exists'],
    requests: {
      invoice: {
        value: {
          sponsor: OPEN.sponsor,
          amount: OPEN.amount,
          description: OPEN.description,
          statement_descriptor_suffix: OPEN.statement_descriptor_suffix,
          source_reference: OPEN.source_reference,
        },
      },
    },
    answers: { open: { value: OPEN } },
  },
  listCharges: {
    answers: { page: { value: { data: [PAID], has_more: false, next_cursor: null } } },
  },
  getCharge: { answers: { charge: { value: PAID } } },
  chargeCharge: {
    problems: ['no_payment_method', ...PAYS],
    requests: {
      default: { summary: 'The default card', value: {} },
      named: { summary: 'Another card', value: { payment_method: 'pm_1QxLm3' } },
    },
    answers: {
      paid: { value: PAID },
      declined: { summary: 'The bank said no', value: DECLINED },
      link: { summary: 'The bank wants the payer', value: NEEDS_PAYER },
    },
  },
  checkoutCharge: {
    problems: PAYS,
    requests: {
      link: {
        value: {
          success_url: 'https://tickets.example/paid?session={CHECKOUT_SESSION_ID}',
          cancel_url: 'https://tickets.example/invoices',
        },
      },
    },
    answers: { opened: { value: LINK } },
  },
  refundCharge: {
    problems: ['wrong_state', ...ASKS_STRIPE],
    requests: {
      all: { summary: 'All that is left', value: {} },
      part: { summary: 'A part', value: { amount: 20_000, reason: 'requested_by_customer' } },
    },
    answers: { part: { value: PARTLY_BACK } },
  },
  cancelCharge: { problems: PAYS, answers: { canceled: { value: CANCELED } } },
  reconcileCharge: { problems: ASKS_STRIPE, answers: { charge: { value: PAID } } },
}

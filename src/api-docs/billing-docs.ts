import type { ApiDocs } from '../http/openapi/api-document.ts'
import { STRIPE_PROBLEMS } from '../http/openapi/shared-components.ts'

const CUSTOMER = {
  id: 'cust_7Jk2mQx9RtVb',
  object: 'customer',
  sponsor: 'spon_5mNf1RbX8vJh',
  stripe_customer: 'cus_R4nTq8',
  name: 'ACME Corp.',
  email: 'events@acme.example',
  default_payment_method: null,
  as_of: '2027-01-15T09:30:01.120Z',
  created_at: '2027-01-15T09:30:00.000Z',
  updated_at: '2027-01-15T09:30:01.000Z',
}

const WITH_CARD = { ...CUSTOMER, default_payment_method: 'pm_1QxLm3' }

const CARD = {
  id: 'pm_1QxLm3',
  object: 'payment_method',
  customer: CUSTOMER.id,
  type: 'card',
  brand: 'visa',
  last4: '4242',
  exp_month: 12,
  exp_year: 2034,
  funding: 'credit',
  country: 'US',
  billing_name: 'Ada Buyer',
  is_default: true,
  created_at: '2027-01-15T09:33:00.000Z',
  as_of: '2027-01-15T09:33:02.310Z',
}

const RETURN_URLS = {
  success_url: 'https://tickets.example/cards?saved=1',
  cancel_url: 'https://tickets.example/cards',
}

export const CUSTOMER_EXAMPLES = { Customer: WITH_CARD, PaymentMethod: CARD }

export const CUSTOMER_DOCS: ApiDocs = {
  createCustomer: {
    problems: STRIPE_PROBLEMS,
    requests: {
      staff: { summary: 'As staff, for a sponsor', value: { sponsor: CUSTOMER.sponsor } },
      own: { summary: 'As the sponsor itself', value: {} },
    },
  },
  updateCustomer: {
    problems: STRIPE_PROBLEMS,
    requests: {
      own: {
        summary: "An invoice address in place of the sponsor's",
        value: { name: 'ACME Accounting', email: 'bills@acme.example' },
      },
      follow: { summary: "The sponsor's address again", value: { email: null } },
    },
  },
  refreshCustomer: { problems: STRIPE_PROBLEMS },
  attachPaymentMethod: {
    problems: STRIPE_PROBLEMS,
    requests: { card: { value: { payment_method: CARD.id } } },
  },
  setupPaymentMethod: { problems: STRIPE_PROBLEMS, requests: { page: { value: RETURN_URLS } } },
  setDefaultPaymentMethod: { problems: STRIPE_PROBLEMS },
  detachPaymentMethod: { problems: STRIPE_PROBLEMS },
}

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
  metadata: {},
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

const PAYMENT_PROBLEMS = ['wrong_state', 'payment_in_progress', ...STRIPE_PROBLEMS] as const

export const CHARGE_EXAMPLES = { Charge: PAID }

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
    answers: { open: { summary: 'Not charged yet', value: OPEN } },
  },
  chargeCharge: {
    problems: ['no_payment_method', ...PAYMENT_PROBLEMS],
    requests: {
      default: { summary: 'The default card', value: {} },
      named: { summary: 'Another card', value: { payment_method: 'pm_1QxLm3' } },
    },
    answers: {
      declined: { summary: 'The bank declined the card', value: DECLINED },
      link: {
        summary: 'The cardholder must authenticate on the payment page',
        value: NEEDS_PAYER,
      },
    },
  },
  checkoutCharge: {
    problems: PAYMENT_PROBLEMS,
    requests: {
      link: {
        value: {
          success_url: 'https://tickets.example/paid?session={CHECKOUT_SESSION_ID}',
          cancel_url: 'https://tickets.example/invoices',
        },
      },
    },
  },
  refundCharge: {
    problems: ['wrong_state', ...STRIPE_PROBLEMS],
    requests: {
      all: { summary: 'The whole amount that is not refunded yet', value: {} },
      part: {
        summary: 'A part of the amount',
        value: { amount: 20_000, reason: 'requested_by_customer' },
      },
    },
  },
  cancelCharge: { problems: PAYMENT_PROBLEMS },
  reconcileCharge: { problems: STRIPE_PROBLEMS },
}

const PLAN = {
  id: 'plan_4dKq8WzR2mVb',
  object: 'plan',
  name: 'Community booth',
  amount: 25_000,
  currency: 'EUR',
  interval: 'month',
  interval_count: 1,
  trial_period_days: 0,
  statement_descriptor: 'DEVCONF BOOTH',
  metadata: { hall: 'B' },
  active: true,
  state: 'created',
  failure: null,
  stripe_product: 'plan_4dKq8WzR2mVb',
  stripe_price: 'price_1QxLm4',
  created_by: 'key_2bRk7WcT4pQx',
  created_at: '2027-01-15T09:30:00.000Z',
  updated_at: '2027-01-15T09:30:01.000Z',
}

const SUBSCRIPTION = {
  id: 'subs_7hTq2ZsW9nLd',
  object: 'subscription',
  customer: 'cust_7Jk2mQx9RtVb',
  sponsor: 'spon_5mNf1RbX8vJh',
  status: 'active',
  state: 'created',
  failure: null,
  items: [
    {
      plan: PLAN.id,
      name: PLAN.name,
      stripe_price: PLAN.stripe_price,
      quantity: 2,
      amount: PLAN.amount,
      currency: PLAN.currency,
      interval: PLAN.interval,
      interval_count: PLAN.interval_count,
    },
  ],
  payment_method: null,
  coupon: null,
  tax_rates: ['txr_1QxLm8'],
  trial_period_days: 0,
  metadata: {},
  end_date: '2027-12-31',
  cancel_at_period_end: false,
  cancel_at: null,
  canceled_at: null,
  ended_at: null,
  current_period_start: '2027-01-15T09:31:00.000Z',
  current_period_end: '2027-02-15T09:31:00.000Z',
  trial_end: null,
  latest_invoice: 'in_1QxLm7',
  stripe_subscription: 'sub_1QxLm6',
  created_by: 'key_2bRk7WcT4pQx',
  cancel_requested_by: null,
  as_of: '2027-01-15T09:31:01.200Z',
  created_at: '2027-01-15T09:31:00.000Z',
  updated_at: '2027-01-15T09:31:01.000Z',
}

export const SUBSCRIPTION_EXAMPLES = { Plan: PLAN, Subscription: SUBSCRIPTION }

export const SUBSCRIPTION_DOCS: ApiDocs = {
  createPlan: {
    problems: STRIPE_PROBLEMS,
    requests: {
      monthly: {
        value: {
          name: 'Community booth',
          amount: 25_000,
          interval: 'month',
          statement_descriptor: 'DEVCONF BOOTH',
          metadata: { hall: 'B' },
        },
      },
    },
  },
  updatePlan: {
    problems: ['wrong_state', ...STRIPE_PROBLEMS],
    requests: {
      archive: { summary: 'Archive: no new subscriptions', value: { active: false } },
      name: { value: { name: 'Community booth (small)', metadata: { hall: null } } },
    },
  },
  createSubscription: {
    problems: STRIPE_PROBLEMS,
    requests: {
      until_december: {
        summary: 'Two booths until the end of the year',
        value: {
          customer: SUBSCRIPTION.customer,
          items: [{ plan: PLAN.id, quantity: 2 }],
          tax_rates: ['txr_1QxLm8'],
          end_date: '2027-12-31',
        },
      },
    },
  },
  updateSubscription: {
    problems: ['wrong_state', ...STRIPE_PROBLEMS],
    requests: { goes_on: { summary: 'Remove the end date', value: { end_date: null } } },
  },
  refreshSubscription: { problems: STRIPE_PROBLEMS },
  cancelSubscription: {
    problems: ['wrong_state', ...STRIPE_PROBLEMS],
    requests: {
      period_end: {
        summary: 'At the end of the paid period',
        value: { at_period_end: true },
      },
      now: { summary: 'Immediately', value: {} },
    },
    answers: {
      period_end: {
        value: {
          ...SUBSCRIPTION,
          cancel_at_period_end: true,
          cancel_at: SUBSCRIPTION.current_period_end,
          canceled_at: '2027-01-20T12:00:00.000Z',
          cancel_requested_by: SUBSCRIPTION.created_by,
        },
      },
    },
  },
}

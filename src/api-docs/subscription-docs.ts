import type { ApiDocs } from '../http/openapi/operation-docs.ts'
import type { ErrorCode } from '../shared/errors.ts'

const STRIPE: readonly ErrorCode[] = [
  'stripe_key_missing',
  'stripe_refused',
  'stripe_failed',
  'stripe_unavailable',
]

const PLAN = {
  id: 'plan_4dKq8WzR2mVb',
  object: 'plan',
  name: 'Community booth',
  amount: 25_000,
  currency: 'EUR',
  interval: 'month',
  interval_count: 1,
  trial_period_days: 0,
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

/** Plans and subscriptions. */
export const SUBSCRIPTION_DOCS: ApiDocs = {
  createPlan: {
    problems: STRIPE,
    requests: {
      monthly: {
        value: {
          name: 'Community booth',
          amount: 25_000,
          interval: 'month',
          metadata: { hall: 'B' },
        },
      },
    },
    answers: { plan: { value: PLAN } },
  },
  updatePlan: {
    problems: ['wrong_state', ...STRIPE],
    requests: {
      archive: { summary: 'Nobody else may have it', value: { active: false } },
      name: { value: { name: 'Community booth (small)', metadata: { hall: null } } },
    },
  },
  listPlans: {
    answers: { page: { value: { data: [PLAN], has_more: false, next_cursor: null } } },
  },
  createSubscription: {
    problems: STRIPE,
    requests: {
      until_december: {
        summary: 'Two booths until the end of the year',
        value: {
          customer: SUBSCRIPTION.customer,
          items: [{ plan: PLAN.id, quantity: 2 }],
          end_date: '2027-12-31',
        },
      },
    },
    answers: { subscription: { value: SUBSCRIPTION } },
  },
  listSubscriptions: {
    answers: { page: { value: { data: [SUBSCRIPTION], has_more: false, next_cursor: null } } },
  },
  updateSubscription: {
    problems: ['wrong_state', ...STRIPE],
    requests: { goes_on: { summary: 'Without an end', value: { end_date: null } } },
  },
  refreshSubscription: { problems: STRIPE },
  cancelSubscription: {
    problems: ['wrong_state', ...STRIPE],
    requests: {
      period_end: { summary: 'When what is paid for is over', value: { at_period_end: true } },
      now: { value: {} },
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

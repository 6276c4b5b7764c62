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
}

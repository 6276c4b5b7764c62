import type { ApiDocs } from '../http/openapi/operation-docs.ts'

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

const ASKS_STRIPE = [
  'stripe_key_missing',
  'stripe_refused',
  'stripe_failed',
  'stripe_unavailable',
] as const

/** Words and examples of the customers' operations. */
export const CUSTOMER_DOCS: ApiDocs = {
  createCustomer: {
    problems: ASKS_STRIPE,
    requests: {
      staff: { summary: 'As staff, for a sponsor', value: { sponsor: CUSTOMER.sponsor } },
      own: { summary: 'As the sponsor itself', value: {} },
    },
    answers: { created: { value: CUSTOMER } },
  },
  listCustomers: {
    answers: { page: { value: { data: [WITH_CARD], has_more: false, next_cursor: null } } },
  },
  getCustomer: { answers: { customer: { value: WITH_CARD } } },
  refreshCustomer: { problems: ASKS_STRIPE, answers: { refreshed: { value: WITH_CARD } } },
  listPaymentMethods: {
    answers: { page: { value: { data: [CARD], has_more: false, next_cursor: null } } },
  },
  setupPaymentMethod: {
    problems: ASKS_STRIPE,
    requests: { page: { value: RETURN_URLS } },
    answers: {
      opened: {
        value: {
          url: 'https://checkout.stripe.com/c/pay/cs_test_s3Tup',
          session_id: 'cs_test_s3Tup',
          expires_at: '2027-01-16T09:31:00.000Z',
        },
      },
    },
  },
  setDefaultPaymentMethod: { problems: ASKS_STRIPE, answers: { chosen: { value: WITH_CARD } } },
  detachPaymentMethod: { problems: ASKS_STRIPE },
}

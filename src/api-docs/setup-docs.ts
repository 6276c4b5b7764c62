import type { ApiDocs } from '../http/openapi/api-document.ts'

/** Conferences, keys, sponsors, catalogue, Stripe's events and the service's own pages. */
export const SETUP_DOCS: ApiDocs = {
  createConference: {
    problems: ['already_exists'],
    requests: {
      conference: {
        value: {
          slug: 'pycon-2027',
          name: 'PyCon 2027',
          currency: 'EUR',
          allowed_origins: ['https://pycon.example.org'],
        },
      },
    },
  },
  updateConference: {
    problems: ['mode_fixed', 'stripe_unavailable'],
    requests: {
      name: { value: { name: 'PyCon 2027 Berlin' } },
      bankTransfer: {
        summary: 'Sponsors may also pay by bank transfer',
        value: { bank_details: 'PyCon e.V.\nIBAN DE02 1203 0000 0000 2020 51\nBIC BYLADEM1001' },
      },
    },
  },
  createWebhookSecret: {
    requests: { secret: { value: { secret: 'whsec_5f1c0a9b7e' } } },
  },
  createApiKey: {
    requests: {
      staff: {
        summary: 'The ticket shop redeems codes',
        value: { role: 'staff', name: 'Ticket shop', scopes: ['vouchers:redeem'] },
      },
      sponsor: {
        summary: 'A sponsor buys vouchers and reads its own codes',
        value: { role: 'sponsor', name: 'Acme', sponsor: 'acme' },
      },
    },
  },
  inviteUser: {
    problems: ['already_exists'],
    requests: {
      staff: {
        summary: 'A colleague at the ticket desk',
        value: {
          email: 'grace@pycon.example.org',
          name: 'Grace',
          role: 'staff',
          scopes: ['vouchers:read', 'vouchers:redeem'],
        },
      },
      sponsor: {
        summary: 'A person who buys for a sponsor',
        value: { email: 'ada@acme.example', role: 'sponsor', sponsor: 'acme' },
      },
    },
  },
  inviteOperator: { problems: ['already_exists'] },
  updateUser: { requests: { scopes: { value: { scopes: ['vouchers:redeem'] } } } },
  requestSignIn: {
    requests: { address: { value: { email: 'ada@acme.example' } } },
  },
  createSession: {
    problems: ['forbidden'],
    requests: {
      token: {
        value: {
          token: 'V1StGXR8Z5jdHi6BmyT7a_4fT1vK9xQ2mVb9TzR3hTq8ZsW1nLd7aYc6eUiOpQ',
        },
      },
    },
  },
  rotateApiKey: {
    problems: ['wrong_state'],
    requests: { hour: { value: { overlap_seconds: 3_600 } } },
  },
  rotateOperatorApiKey: { problems: ['wrong_state'] },
  createSponsorLevel: {
    problems: ['already_exists'],
    requests: { gold: { value: { name: 'Gold', comp_ticket_count: 10 } } },
  },
  updateSponsorLevel: { problems: ['already_exists'] },
  createSponsor: {
    problems: ['already_exists'],
    requests: {
      acme: {
        value: { name: 'Acme', slug: 'acme', contact_email: 'events@acme.example', level: 'gold' },
      },
    },
  },
  updateSponsor: { problems: ['already_exists'] },
  createTicketType: {
    problems: ['already_exists'],
    requests: {
      standard: {
        value: {
          name: 'Conference ticket',
          price: 10_000,
          bulk_enabled: true,
          voucher_defaults: { voucher_type: 'comp', max_uses: 1 },
        },
      },
    },
  },
  updateTicketType: { problems: ['already_exists'] },
  createAddOn: {
    problems: ['already_exists'],
    requests: { dinner: { value: { name: 'Dinner', price: 4_500, bulk_enabled: true } } },
  },
  updateAddOn: { problems: ['already_exists'] },
  receiveStripeEvent: {
    problems: ['invalid_signature', 'validation_failed', 'rate_limited'],
    rawBody: {
      type: 'application/json',
      description: 'The event, byte for byte as Stripe signed it.',
      schema: { type: 'object' },
    },
  },
  replayStripeEvent: { problems: ['wrong_state'] },
  getOpenapi: { problems: ['validation_failed'] },
  getReadiness: { problems: ['not_ready', 'database_unavailable'] },
  getMetrics: { problems: ['unauthenticated', 'database_unavailable'] },
}

const ENDPOINT = {
  id: 'we_7hQx0RkLmN4pTyVbWz2fG',
  object: 'webhook_endpoint',
  url: 'https://sponsors.example.org/hooks/vouchers',
  description: 'Sponsor portal',
  event_types: ['purchase.paid', 'purchase.refunded', 'vouchers.issued'],
  secret: 'whsec_****k3Q=',
  enabled: true,
  disabled_by: null,
  disabled_at: null,
  created_at: '2027-02-01T08:00:00.120Z',
  updated_at: '2027-02-01T08:00:00.120Z',
}

const DELIVERY = {
  id: 'msg_2fG7hQx0RkLmN4pTyVbWz',
  object: 'webhook_delivery',
  endpoint: ENDPOINT.id,
  state: 'pending',
  attempts: 1,
  next_attempt_at: '2027-02-01T09:12:05.400Z',
  last_attempt_at: '2027-02-01T09:12:00.100Z',
  last_status: 503,
  last_error: 'The receiver answered 503.',
  payload: {
    type: 'purchase.paid',
    timestamp: '2027-02-01T09:12:00.020Z',
    data: {
      purchase: 'bp_V1StGXR8Z5jdHi6BmyT7a',
      status: 'PAID',
      sponsor: 'spon_5jdHi6BmyT7aV1StGXR8Z',
      reference: 'PO-2027-118',
      quantity: 40,
      total_amount: 396_000,
      amount_received: 396_000,
      amount_refunded: 0,
      currency: 'EUR',
      failure_code: null,
    },
  },
  created_at: '2027-02-01T09:12:00.020Z',
  finished_at: null,
}

export const OUTBOUND_WEBHOOK_EXAMPLES = { WebhookEndpoint: ENDPOINT, WebhookDelivery: DELIVERY }

/** Outbound webhooks: endpoints and deliveries. */
export const OUTBOUND_WEBHOOK_DOCS: ApiDocs = {
  createWebhookEndpoint: {
    requests: {
      some: {
        summary: 'Some types',
        value: {
          url: ENDPOINT.url,
          description: ENDPOINT.description,
          event_types: ENDPOINT.event_types,
        },
      },
      all: { summary: 'Every type', value: { url: ENDPOINT.url } },
    },
  },
  updateWebhookEndpoint: {
    requests: { disable: { summary: 'Stop sending', value: { enabled: false } } },
  },
  rotateWebhookEndpointSecret: {
    requests: { hour: { value: { overlap_seconds: 3_600 } } },
  },
  replayWebhookDelivery: { problems: ['wrong_state'] },
}

/** Personal data: exports and erasures. */
export const PRIVACY_DOCS: ApiDocs = {
  exportPersonalData: {
    problems: ['not_found'],
    requests: {
      person: { value: { email: 'ada@acme.example' } },
      sponsor: { value: { sponsor: 'acme' } },
    },
  },
  erasePersonalData: {
    problems: ['not_found', 'money_open'],
    requests: {
      person: { value: { email: 'ada@acme.example', confirm: 'ada@acme.example' } },
      sponsor: { value: { sponsor: 'acme', confirm: 'acme' } },
    },
  },
}

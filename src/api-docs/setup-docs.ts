import type { ApiDocs } from '../http/openapi/operation-docs.ts'

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
    problems: ['mode_fixed'],
    requests: { name: { value: { name: 'PyCon 2027 Berlin' } } },
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
        summary: 'A sponsor buys and sees its own codes',
        value: { role: 'sponsor', name: 'Acme', sponsor: 'acme' },
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
    problems: ['invalid_signature', 'validation_failed'],
    rawBody: 'The event, as Stripe signed it. Its bytes are kept.',
  },
  replayStripeEvent: { problems: ['wrong_state'] },
  getReadiness: { problems: ['not_ready', 'database_unavailable'] },
  getMetrics: { problems: ['unauthenticated', 'database_unavailable'] },
}

/** The chapters of openapi.yaml, in reading order. Every operation names one of them. */
export const TAGS = [
  {
    name: 'Purchases',
    description:
      'A sponsor buys codes in bulk: created PENDING, PROCESSING while it is being paid, then PAID, FAILED or REFUNDED.',
  },
  {
    name: 'Vouchers',
    description: 'The codes: what a purchase brought, what staff gave out, what a level includes.',
  },
  {
    name: 'Redemptions',
    description: 'Uses of codes, asked for by the ticket shop. Safe to repeat under one reference.',
  },
  {
    name: 'Catalogue',
    description: 'Ticket types and add-ons: what can be bought in bulk, at which price.',
  },
  { name: 'Sponsors', description: 'The buyers and their levels.' },
  { name: 'Conferences', description: 'The tenants: settings, Stripe key and webhook secrets.' },
  { name: 'API keys', description: 'Who may call: roles, scopes, expiry, rotation.' },
  {
    name: 'Billing',
    description:
      'What a sponsor pays by a saved card: customers, charges, plans and subscriptions, each made here first and at Stripe once.',
  },
  { name: 'Reports', description: 'Counts and sums of purchases and vouchers, as JSON or CSV.' },
  {
    name: 'Outgoing webhooks',
    description:
      'The service tells others what happened, by the Standard Webhooks specification: signed, at least once, in no promised order, retried over three days (ten tries), then to be replayed. The `webhook-id` stays the same in every try. A payload is small and holds no voucher code: read the rest here.',
  },
  { name: 'Stripe', description: "Stripe's webhook, what it delivered, and replays." },
  {
    name: 'Stripe mirror',
    description:
      "Stripe's objects as rows of our own database: typed columns to filter by, and the object whole. Reading asks Stripe nothing; `as_of` says how fresh a row is. What Stripe has no more stays as a tombstone. Decimals (`…_decimal`) are texts, and no `client_secret` is shown.",
  },
  {
    name: 'Coupons',
    description:
      "Discounts at Stripe, both ways: what is written here is at Stripe and in the mirror at once, and what changes in Stripe's dashboard arrives by webhook.",
  },
  { name: 'Operations', description: 'Health, metrics and this document.' },
]

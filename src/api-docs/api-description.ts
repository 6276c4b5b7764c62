import type { ApiDescription } from '../http/openapi/add-openapi.ts'
import type { ApiDocs } from '../http/openapi/api-document.ts'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import { CHARGE_DOCS, CUSTOMER_DOCS, SUBSCRIPTION_DOCS } from './billing-docs.ts'
import { PURCHASE_DOCS, VOUCHER_DOCS } from './purchase-docs.ts'
import { OUTGOING_WEBHOOK_DOCS, SETUP_DOCS } from './setup-docs.ts'
import { COUPON_DOCS, DRIFT_DOCS, MIRROR_DOCS } from './stripe-docs.ts'

/**
 * The words of openapi.yaml that no route can know: title, introduction, tags, examples.
 *
 * @param publicUrl where the service is reached; null: where the document was read from.
 * @param made words about routes that are made from definitions, beside those written here.
 */
export function apiDescription(publicUrl: string | null, made: ApiDocs): ApiDescription {
  return {
    info: {
      title: 'sponsor-vouchers',
      version: SERVICE_VERSION,
      description: INTRODUCTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl ?? '/', description: 'This service' }],
    tags: TAGS,
    operations: { ...OPERATION_DOCS, ...made },
  }
}

/** Examples and own error codes of the operations, by operationId. */
export const OPERATION_DOCS: ApiDocs = {
  ...PURCHASE_DOCS,
  ...VOUCHER_DOCS,
  ...SETUP_DOCS,
  ...MIRROR_DOCS,
  ...DRIFT_DOCS,
  ...SUBSCRIPTION_DOCS,
  ...COUPON_DOCS,
  ...CUSTOMER_DOCS,
  ...CHARGE_DOCS,
  ...OUTGOING_WEBHOOK_DOCS,
}

/** `info.description` of openapi.yaml, in Markdown. */
const INTRODUCTION = `Sponsors of a conference buy ticket vouchers in bulk and pay through Stripe
Checkout. Paid purchases turn into codes exactly once; refunds and disputes turn codes off.

## Quick start

With a sponsor's key in \`$KEY\` and the service at \`$URL\`:

\`\`\`sh
C=$URL/v1/conferences/pycon-2027

# 1. What can be bought
curl -H "Authorization: Bearer $KEY" $C/ticket-types

# 2. Forty vouchers for a ticket type: a purchase that is PENDING
curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -H "Idempotency-Key: $(uuidgen)" \\
  -d '{"ticket_type": "tkt_6xKq2mVb9TzR", "quantity": 40}' $C/purchases

# 3. The page where it is paid: open the \`url\` of the answer
curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -d '{"success_url": "https://example.org/thanks", "cancel_url": "https://example.org/"}' \\
  $C/purchases/bp_3hTq8ZsW1nLd/checkout

# 4. Once it is PAID: the codes
curl -H "Authorization: Bearer $KEY" -H "Accept: text/csv" $C/purchases/bp_3hTq8ZsW1nLd/vouchers
\`\`\`

## Conventions

- **Money** is an integer in the currency's minor units: 500 is 5.00 EUR, 500 JPY or 0.500 KWD.
- **Times** are RFC 3339, answered in UTC.
- **Lists** are newest first. Pass \`next_cursor\` as \`cursor\` for the next page.
- **Unknown fields** in a body or query are refused with 400. Answers may gain members; ignore those
  that you do not know.
- **Repeats**: send an \`Idempotency-Key\` with every POST and PATCH, and repeat a request whose
  answer you did not get under the same key.
- **Another tenant's object** is 404, as if it did not exist.

## Errors

Every error is \`application/problem+json\` (RFC 9457) with a stable \`code\`. Each operation lists
the codes that it answers.
`

/** The chapters of openapi.yaml, in reading order. Every operation names one of them. */
const TAGS = [
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

import type { ApiDescription, ApiDocs } from '../http/openapi/api-document.ts'
import { ERROR_CATALOGUE } from '../shared/errors.ts'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import {
  CHARGE_DOCS,
  CHARGE_EXAMPLES,
  CUSTOMER_DOCS,
  CUSTOMER_EXAMPLES,
  SUBSCRIPTION_DOCS,
  SUBSCRIPTION_EXAMPLES,
} from './billing-docs.ts'
import {
  PURCHASE_DOCS,
  PURCHASE_EXAMPLES,
  VOUCHER_DOCS,
  VOUCHER_EXAMPLES,
} from './purchase-docs.ts'
import {
  OUTBOUND_WEBHOOK_DOCS,
  OUTBOUND_WEBHOOK_EXAMPLES,
  PRIVACY_DOCS,
  SETUP_DOCS,
} from './setup-docs.ts'
import {
  COUPON_DOCS,
  COUPON_EXAMPLES,
  DRIFT_DOCS,
  MIRROR_DOCS,
  MIRROR_EXAMPLES,
  PAYOUT_DOCS,
} from './stripe-docs.ts'

/**
 * The words of openapi.yaml that no route has: title, introduction, tags, examples.
 *
 * @param publicUrl the address of the service; null: the address that the document was read from.
 */
export function apiDescription(publicUrl: string | null): ApiDescription {
  return {
    info: {
      title: 'sponsor-vouchers',
      version: SERVICE_VERSION,
      description: INTRODUCTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: publicUrl ?? '/', description: 'This service' }],
    tags: TAGS,
    operations: OPERATION_DOCS,
    examples: OBJECT_EXAMPLES,
  }
}

/** Examples and own error codes of the operations, by operationId. */
export const OPERATION_DOCS: ApiDocs = {
  ...PURCHASE_DOCS,
  ...VOUCHER_DOCS,
  ...SETUP_DOCS,
  ...MIRROR_DOCS,
  ...DRIFT_DOCS,
  ...PAYOUT_DOCS,
  ...SUBSCRIPTION_DOCS,
  ...COUPON_DOCS,
  ...CUSTOMER_DOCS,
  ...CHARGE_DOCS,
  ...OUTBOUND_WEBHOOK_DOCS,
  ...PRIVACY_DOCS,
}

/** One object of each kind, by the name of its schema. */
export const OBJECT_EXAMPLES: Readonly<Record<string, unknown>> = {
  ...PURCHASE_EXAMPLES,
  ...VOUCHER_EXAMPLES,
  ...MIRROR_EXAMPLES,
  ...SUBSCRIPTION_EXAMPLES,
  ...COUPON_EXAMPLES,
  ...CUSTOMER_EXAMPLES,
  ...CHARGE_EXAMPLES,
  ...OUTBOUND_WEBHOOK_EXAMPLES,
}

/** `info.description` of openapi.yaml, in Markdown. */
const INTRODUCTION = `Sponsors of a conference buy ticket vouchers in bulk and pay through Stripe
Checkout. Each paid purchase issues its voucher codes exactly once; refunds and disputes deactivate
codes.

## Quick start

With a sponsor's key in \`$KEY\` and the service at \`$URL\`:

\`\`\`sh
C=$URL/v1/conferences/pycon-2027

# 1. List the ticket types that can be bought
curl -H "Authorization: Bearer $KEY" $C/ticket-types

# 2. Order forty vouchers for a ticket type: this creates a PENDING purchase
curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -H "Idempotency-Key: $(uuidgen)" \\
  -d '{"ticket_type": "tkt_6xKq2mVb9TzR", "quantity": 40}' $C/purchases

# 3. Open a payment page, then visit the \`url\` in the response
curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -d '{"success_url": "https://example.org/thanks", "cancel_url": "https://example.org/"}' \\
  $C/purchases/bp_3hTq8ZsW1nLd/checkout

# 4. Once the purchase is PAID: download the codes
curl -H "Authorization: Bearer $KEY" -H "Accept: text/csv" $C/purchases/bp_3hTq8ZsW1nLd/vouchers
\`\`\`

## Conventions

- **Money** is an integer in the currency's minor units: 500 is 5.00 EUR, 500 JPY or 0.500 KWD.
- **Times** are RFC 3339; responses use UTC.
- **Lists** are newest first; purchases can be \`sort=oldest\`. Pass \`next_cursor\` as \`cursor\` to get the next page.
- **Unknown fields** in a body or query are refused with 400. Later releases may add fields to
  responses: ignore fields that you do not know.
- **Retries**: send an \`Idempotency-Key\` with every POST and PATCH. If no response arrives,
  repeat the request with the same key.
- **Limits**: every value of a request has a limit, which its schema shows. A key may send a number of
  requests per minute: see the headers \`X-RateLimit-Limit\`, \`X-RateLimit-Remaining\` and
  \`X-RateLimit-Reset\`. Above it the response is 429 with \`Retry-After\`.
- **Objects of another tenant**: the response is 404, as if the object did not exist.
- **Request ids**: every response has the header \`Request-Id\`, the id of the request in the logs of the
  service. It is the \`X-Request-Id\` of the request, if the request has one.
- **Callers**: the \`x-access\` of an operation lists the roles that may call it, and the scopes of which
  a staff key needs one. A sponsor can call it for its own objects only. The role \`anyone\` needs no key;
  \`stripe\` signs its requests instead.
- **Sponsors** can read the part of this document that their keys may call:
  \`GET /openapi.json?audience=sponsor\`, or \`/docs?audience=sponsor\` as a page.

## Errors

Every error is \`application/problem+json\` (RFC 9457) with a stable \`code\`; the schema of a response
lists its codes. The response \`default\` of an operation has the codes that it shares with similar
operations. If a status has a response of its own, that response has all codes of this status.

| code | status | meaning |
|---|---|---|
${errorTable()}
`

function errorTable(): string {
  const rows = Object.entries(ERROR_CATALOGUE).map(
    ([code, { status, title }]) => `| \`${code}\` | ${status} | ${title} |`,
  )
  return rows.join('\n')
}

/** The chapters of openapi.yaml, in reading order. Every operation names one of them. */
const TAGS = [
  {
    name: 'Purchases',
    description:
      'A sponsor buys voucher codes in bulk. A purchase is created PENDING, is PROCESSING while it is being paid, and ends PAID, FAILED or REFUNDED.',
  },
  {
    name: 'Vouchers',
    description:
      'Voucher codes. They are issued for a paid purchase, by staff, or for a sponsor level.',
  },
  {
    name: 'Redemptions',
    description:
      'Uses of vouchers, recorded by the ticket shop. A repeat with the same reference is a no-op.',
  },
  {
    name: 'Catalogue',
    description:
      'Ticket types and add-ons: the items that can be bought in bulk, and their prices.',
  },
  { name: 'Sponsors', description: 'The sponsors, who buy vouchers, and their levels.' },
  { name: 'Conferences', description: 'The tenants: settings, Stripe key and webhook secrets.' },
  { name: 'API keys', description: 'API keys: roles, scopes, expiry and rotation.' },
  {
    name: 'Users',
    description:
      'People who may sign in: operators, staff of a conference, and members of a sponsor. A person is known by the e-mail address and may be a user of several conferences.',
  },
  {
    name: 'Sign-in',
    description:
      'Sessions of people, in an HttpOnly cookie. Programs use API keys instead. A write with a session is accepted only from the pages of this service. A session ends after 12 hours without a request, and after 7 days.',
  },
  {
    name: 'Billing',
    description:
      'Payments of sponsors by saved card: customers, charges, plans and subscriptions. Each object is stored here first and then created once at Stripe.',
  },
  { name: 'Reports', description: 'Counts and sums of purchases and vouchers, as JSON or CSV.' },
  {
    name: 'Outbound webhooks',
    description:
      'Events that this service sends to your endpoints, by the Standard Webhooks specification. They are signed, delivered at least once, in no guaranteed order, and retried over three days (ten attempts). After that, staff can replay a delivery. The `webhook-id` is the same in every attempt. A payload is small and contains no voucher code: read other data from this API.',
  },
  {
    name: 'Privacy',
    description: 'The data of a person or sponsor: its export, and its erasure.',
  },
  { name: 'Stripe', description: "Stripe's webhook, the events that it delivered, and replays." },
  {
    name: 'Stripe mirror',
    description:
      "Copies of Stripe's objects in our own database: typed columns that lists can be filtered by, and the whole object. Reading makes no request to Stripe; `as_of` shows how fresh a row is. Objects deleted at Stripe are kept and marked with `deleted_at`. Decimals (`…_decimal`) are strings, and no `client_secret` is shown.",
  },
  {
    name: 'Coupons',
    description:
      "Discounts at Stripe, synced both ways. A change made here is written to Stripe and to the mirror immediately. A change made in Stripe's dashboard arrives by webhook.",
  },
  { name: 'Operations', description: 'Health, metrics and this document.' },
]

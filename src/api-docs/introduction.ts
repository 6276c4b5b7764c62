/** `info.description` of openapi.yaml, in Markdown. */
export const INTRODUCTION = `Sponsors of a conference buy ticket vouchers in bulk and pay through Stripe
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

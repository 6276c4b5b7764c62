import type Stripe from 'stripe'
import { formatAmount } from '../core/currency.ts'
import { html } from './html.ts'
import type { Page } from './page-layout.ts'

/** What a charge's `receipt_url` shows. */
export function receiptPage(charge: Stripe.Charge, merchant: string): Page {
  const body = html`<div class="card"><h1>Receipt from ${merchant}</h1>
<p>${charge.description ?? charge.id}</p>
<p>Amount: <strong>${formatAmount(charge.amount, charge.currency)}</strong>, ${charge.status}</p>
${charge.amount_refunded > 0 && html`<p>Refunded: ${formatAmount(charge.amount_refunded, charge.currency)}</p>`}
<p class="soft">${new Date(charge.created * 1000).toUTCString()} · <code>${charge.id}</code></p></div>`
  return {
    title: `Receipt from ${merchant}`,
    body,
    narrow: true,
    banner: 'Fake Stripe: no money moved.',
  }
}

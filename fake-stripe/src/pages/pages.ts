import type { FastifyInstance } from 'fastify'
import qs from 'qs'
import type Stripe from 'stripe'
import { describe, refuseOtherSites } from '../control/control-routes.ts'
import type { FakeStripeControl } from '../control/fake-stripe-control.ts'
import { formatAmount } from '../core/currency.ts'
import type { FakeState } from '../fake-state.ts'
import { charges } from '../kinds/charge.ts'
import { registerCheckoutPages } from './checkout-page.ts'
import { registerDashboard } from './dashboard.ts'
import { html, type Page, sendPage } from './page-layout.ts'

/** The pages for people. They work without JavaScript. */
export async function registerPages(
  app: FastifyInstance,
  state: FakeState,
  control: FakeStripeControl,
): Promise<void> {
  await app.register((scope, _options, done) => {
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      (_request, body, next) => next(null, qs.parse(body.toString(), { plainObjects: true })),
    )
    scope.addHook('onRequest', async (request) => refuseOtherSites(request))
    scope.setErrorHandler((error, _request, reply) => {
      const { status, message } = describe(error)
      const body = html`<div class="card"><h1>That did not work</h1><p role="alert">${message}</p></div>`
      return sendPage(reply, { title: 'That did not work', body, narrow: true }, status)
    })
    registerCheckoutPages(scope, state)
    registerDashboard(scope, state, control)
    scope.get<{ Params: { charge: string } }>('/receipts/:charge', ({ params }, reply) => {
      for (const account of state.accounts.all()) {
        const charge = account.rows(charges).get(params.charge)
        if (charge !== undefined) return sendPage(reply, receiptPage(charge, account.profile.name))
      }
      const body = html`<div class="card"><h1>There is no such receipt</h1></div>`
      return sendPage(reply, { title: 'No receipt', body, narrow: true }, 404)
    })
    done()
  })
}

/** The page at a charge's `receipt_url`. */
function receiptPage(charge: Stripe.Charge, merchant: string): Page {
  const body = html`<div class="card"><h1>Receipt from ${merchant}</h1>
<p>${charge.description ?? charge.id}</p>
<p>Amount: <strong>${formatAmount(charge.amount, charge.currency)}</strong>, ${charge.status}</p>
${charge.amount_refunded > 0 && html`<p>Refunded: ${formatAmount(charge.amount_refunded, charge.currency)}</p>`}
<p class="soft">${new Date(charge.created * 1000).toUTCString()} · <code>${charge.id}</code></p></div>`
  return {
    title: `Receipt from ${merchant}`,
    body,
    narrow: true,
    banner: 'fake-stripe: no money moved.',
  }
}

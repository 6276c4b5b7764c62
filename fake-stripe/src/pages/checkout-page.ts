import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type Stripe from 'stripe'
import { z } from 'zod'
import { manualScope } from '../control/account-control.ts'
import { formatAmount } from '../core/currency.ts'
import { cardDecline, DECLINE_CODES } from '../core/declines.ts'
import type { Scope } from '../core/scope.ts'
import type { FakeState } from '../fake-state.ts'
import { declineSession, paySession, paySessionLater } from '../kinds/checkout-payment.ts'
import { checkoutSessions, sessionLines, type WireLineItem } from '../kinds/checkout-session.ts'
import { type Html, html, type Page, safeHref, sendPage } from './page-layout.ts'

type SessionRoute = { Params: { session: string } }
type Act = (scope: Scope, id: string, form: z.output<typeof payForm>) => string

const blankIsAbsent = z
  .string()
  .optional()
  .transform((value) => value || undefined)

const payForm = z.object({
  email: blankIsAbsent,
  name: blankIsAbsent,
  code: z.enum(DECLINE_CODES).default('generic_decline'),
})

/** The hosted checkout page that a session's `url` leads to, and its buttons. */
export function registerCheckoutPages(app: FastifyInstance, state: FakeState): void {
  app.get<SessionRoute>('/c/pay/:session', (request, reply) => {
    const { scope, session } = find(state, request.params.session)
    if (scope === undefined) return sendPage(reply, unknownSessionPage(), 404)
    const { declined } = z
      .object({ declined: z.enum(DECLINE_CODES).optional() })
      .catch({})
      .parse(request.query)
    const problem = declined && `${cardDecline(declined).message} You can try again.`
    return sendPage(reply, checkoutPage(scope, session, problem))
  })
  const actions: Record<string, Act> = {
    pay: (scope, id, { email, name }) => successUrl(paySession(scope, id, { email, name })),
    bank: (scope, id, { email, name }) => successUrl(paySessionLater(scope, id, { email, name })),
    decline: (scope, id, { code }) => {
      declineSession(scope, id, code)
      return `/c/pay/${id}?declined=${code}`
    },
    cancel: (scope, id) =>
      scope.account.rows(checkoutSessions).get(id)?.cancel_url ?? `/c/pay/${id}`,
  }
  for (const [name, act] of Object.entries(actions))
    app.post<SessionRoute>(`/c/pay/:session/${name}`, (request, reply) =>
      perform(state, act, request, reply),
    )
}

function perform(
  state: FakeState,
  act: Act,
  request: FastifyRequest<SessionRoute>,
  reply: FastifyReply,
): FastifyReply {
  const { scope, session } = find(state, request.params.session)
  if (scope === undefined) return sendPage(reply, unknownSessionPage(), 404)
  // The button was pressed twice or too late: the page shows how the session ended.
  if (session.status !== 'open') return reply.redirect(`/c/pay/${session.id}`, 303)
  return reply.redirect(act(scope, session.id, payForm.parse(request.body ?? {})), 303)
}

function find(state: FakeState, id: string) {
  for (const account of state.accounts.all()) {
    const session = account.rows(checkoutSessions).get(id)
    if (session !== undefined) return { scope: manualScope(state, account), session }
  }
  return { scope: undefined, session: undefined }
}

const BANNER = 'fake-stripe: no money moves. Choose an action of the payer.'

type Session = Stripe.Checkout.Session

/** The hosted page of a session in any state. @param problem why the last attempt failed. */
function checkoutPage(scope: Scope, session: Session, problem?: string): Page {
  const merchant = scope.account.profile.name
  const body =
    session.status === 'open'
      ? openBody(scope, session, problem)
      : session.status === 'complete'
        ? completeBody(session, merchant)
        : expiredBody(session, merchant)
  return { title: `Checkout – ${merchant}`, body, narrow: true, banner: BANNER }
}

function unknownSessionPage(): Page {
  const body = html`<div class="card"><h1>Unknown checkout session</h1>
<p>fake-stripe has no such session. All data is in memory and is lost on a restart.</p></div>`
  return { title: 'Unknown checkout session', body, narrow: true, banner: BANNER }
}

function openBody(scope: Scope, session: Session, problem: string | undefined): Html {
  const merchant = scope.account.profile.name
  const setup = session.mode === 'setup'
  const free = session.amount_total === 0
  const action = setup ? 'Save card' : free ? 'Complete order' : `Pay ${total(session)}`
  return html`<div class="card">
<p class="soft">${merchant}</p>
<h1>${setup ? 'Save a card' : `Pay ${merchant}`}</h1>
${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
${!setup && lineTable(session, scope.account.rows(sessionLines).get(session.id)?.items ?? [])}
</div>
<form class="card" method="post" action="/c/pay/${session.id}/pay">
<label for="email">E-mail</label>
<input class="wide" id="email" name="email" type="email" autocomplete="email" value="${session.customer_email ?? 'payer@example.com'}">
<label for="name">Name on card</label>
<input class="wide" id="name" name="name" autocomplete="cc-name" value="Pat Payer">
<p><button class="main" type="submit">${action}</button></p>
<div class="choices">
${!setup && !free && otherOutcomes(session)}
<button type="submit" formaction="/c/pay/${session.id}/cancel" formnovalidate>Cancel and return</button>
</div>
</form>
<p class="soft">The session expires at ${new Date(session.expires_at * 1000).toUTCString()}.</p>`
}

function otherOutcomes({ id }: Session): Html {
  const codes = DECLINE_CODES.map((code) => html`<option>${code}</option>`)
  return html`<label for="code">If the card is declined, why</label>
<select id="code" name="code">${codes}</select>
<button type="submit" formaction="/c/pay/${id}/decline">Decline card</button>
<button type="submit" formaction="/c/pay/${id}/bank">Pay later by bank debit</button>
`
}

function lineTable(session: Session, lines: readonly WireLineItem[]): Html {
  const rows = lines.map(
    (line) => html`<tr><td>${line.description ?? 'Item'}<br>
<span class="soft">${line.quantity ?? 1} × ${unitPrice(line)}</span></td>
<td class="amount">${formatAmount(line.amount_total, line.currency)}</td></tr>`,
  )
  return html`<table>
<caption>Your order</caption>
<thead><tr><th scope="col">Item</th><th scope="col" class="amount">Amount</th></tr></thead>
<tbody>${rows}</tbody>
<tfoot><tr><th scope="row">Total due</th><td class="amount">${total(session)}</td></tr></tfoot>
</table>`
}

function unitPrice({ price, currency }: WireLineItem): string {
  return formatAmount(price?.unit_amount ?? Number(price?.unit_amount_decimal ?? 0), currency)
}

function total({ amount_total: amount, currency }: Session): string {
  return formatAmount(amount ?? 0, currency ?? 'usd')
}

function completeBody(session: Session, merchant: string): Html {
  const text =
    session.payment_status === 'unpaid'
      ? 'Your order is placed. The payment is on its way through the bank.'
      : 'Thank you, everything is paid.'
  return html`<div class="card"><h1>All done here</h1>
<p role="status">${text}</p>
<p><a class="button" href="${safeHref(successUrl(session))}">Back to ${merchant}</a></p></div>`
}

function expiredBody(session: Session, merchant: string): Html {
  const back = session.cancel_url
  return html`<div class="card"><h1>This page has expired</h1>
<p role="status">The checkout session has expired and nothing was paid. Start again at ${merchant}.</p>
${back !== null && html`<p><a class="button" href="${safeHref(back)}">Back to ${merchant}</a></p>`}</div>`
}

/** The merchant's page to which the payer returns after paying. */
function successUrl(session: Session): string {
  return (session.success_url ?? '/').replaceAll('{CHECKOUT_SESSION_ID}', session.id)
}

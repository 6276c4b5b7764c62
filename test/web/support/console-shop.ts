import {
  createConference,
  createSponsor,
  createTicketType,
  unique,
} from '../../support/fixtures.ts'
import { newStripeKey, RETURN_URLS } from '../../support/shop.ts'
import type { Body, TestApp } from '../../support/test-app.ts'

export type Made = Body & { id: string; status: string }

/** A conference with the sponsors Acme and Globex, one ticket type, and a person of its staff. */
export async function openConsoleShop(app: TestApp) {
  const stripeKey = newStripeKey()
  const conference = await createConference(app, { stripe_secret_key: stripeKey })
  const { path, slug } = conference
  const contact = { contact_email: 'team@acme.example' }
  const acme = await createSponsor(app, conference, { name: 'Acme', ...contact })
  const globex = await createSponsor(app, conference, { name: 'Globex' })
  const ticket = await createTicketType(app, conference, { name: 'Early Bird', price: 1_000 })
  const email = `${unique('ada')}@example.org`
  const scopes = [
    'purchases:read',
    'purchases:write',
    'refunds:write',
    'vouchers:read',
    'stripe:sync',
    'settings:write',
  ]
  await post('/users', { email, name: 'Ada', role: 'staff', scopes })

  async function post<T extends Body = Made>(url: string, body: Body = {}): Promise<T> {
    const answer = await app.request<T>('POST', `${path}${url}`, { body })
    if (answer.status >= 300) throw new Error(`${url} answered ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const act = (id: string, action: string, body?: Body) => post(`/purchases/${id}/${action}`, body)

  return {
    conference,
    path,
    stripeKey,
    acme,
    globex,
    ticket,
    email,
    /** The pages of this conference. */
    home: `/console/${slug}`,
    post,
    act,
    get: async (id: string) => (await app.request<Made>('GET', `${path}/purchases/${id}`)).body,
    buy: (sponsor: { slug: string }, more: Body = {}) =>
      post('/purchases', { ticket_type: ticket.id, quantity: 10, sponsor: sponsor.slug, ...more }),
    /** Opens the payment page. @returns the session's id. */
    openPage: async (id: string) => String((await act(id, 'checkout', RETURN_URLS))['session_id']),
    markPaid: (id: string, amount: number) =>
      act(id, 'mark-paid', { amount, method: 'bank_transfer', reference: 'RE-2027-118' }),
  }
}

export type ConsoleShop = Awaited<ReturnType<typeof openConsoleShop>>

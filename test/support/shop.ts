import { randomUUID } from 'node:crypto'
import { type FakeStripe, startFakeStripe } from 'fake-stripe/source'
import { afterAll, beforeAll } from 'vitest'
import { createConference, createSponsor, createSponsorKey, createTicketType } from './fixtures.ts'
import type { Answer, Body, TestProcess } from './test-app.ts'

/** A fake Stripe for the tests of this file; the port is known from `beforeAll` on. */
export function useFakeStripe(): { readonly fake: FakeStripe } {
  let running: FakeStripe | undefined
  beforeAll(async () => {
    running = await startFakeStripe({ nodeEnv: 'test', webhooks: { retryBaseMs: 20 } })
  })
  afterAll(() => running?.close())
  return {
    get fake() {
      if (running === undefined) throw new Error('The fake Stripe runs from beforeAll on.')
      return running
    },
  }
}

type Requester = Pick<TestProcess, 'request'>

export type PurchaseAnswer = Body & {
  id: string
  status: string
  vouchers: Record<
    'issued' | 'active' | 'frozen' | 'deactivated' | 'redeemed' | 'remaining',
    number
  >
  checkout: { session_id: string; url: string; attempt: number } | null
  flags: { code: string; detail: string }[]
  allowed_actions: string[]
}

/** A conference on its own Stripe account with a sponsor that may buy one ticket type at 10.00 EUR. */
export type Shop = {
  path: string
  conference: string
  stripeKey: string
  sponsor: string
  sponsorSlug: string
  sponsorKey: string
  ticketType: string
  /** As the sponsor, who buys 10 by default. */
  buy(order?: Body): Promise<PurchaseAnswer>
  checkout(purchase: string, body?: Body): Promise<Answer<Body>>
  /** Opens the payment page and returns the session's id. */
  openSession(purchase: string): Promise<string>
  get(purchase: string): Promise<PurchaseAnswer>
  /** Staff's actions: `cancel`, `refund`, `reconcile`, … */
  act(purchase: string, action: string, body?: Body): Promise<Answer<PurchaseAnswer>>
  codes(purchase: string): Promise<string[]>
}

export const RETURN_URLS = {
  success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/cart',
}

/** The id in a field that Stripe can expand. @throws Error when the field is empty. */
export function idOf(field: string | { id: string } | null | undefined): string {
  if (!field) throw new Error('The field is empty')
  return typeof field === 'string' ? field : field.id
}

/** A Stripe key that the fake gives an account of its own. */
export const newStripeKey = () => `sk_test_${randomUUID().replaceAll('-', '')}`

export async function openShop(app: Requester, overrides: Body = {}): Promise<Shop> {
  const stripeKey = newStripeKey()
  const conference = await createConference(app, { stripe_secret_key: stripeKey, ...overrides })
  const { path } = conference
  const sponsor = await createSponsor(app, conference, { contact_email: 'team@acme.example' })
  const { key: sponsorKey } = await createSponsorKey(app, conference, sponsor.id)
  const ticketType = await createTicketType(app, conference, { price: 1_000 })
  const shop: Shop = {
    path,
    conference: conference.id,
    stripeKey,
    sponsor: sponsor.id,
    sponsorSlug: sponsor.slug,
    sponsorKey,
    ticketType: ticketType.id,
    async buy(order = {}) {
      const body = { ticket_type: ticketType.id, quantity: 10, ...order }
      const answer = await app.request<PurchaseAnswer>('POST', `${path}/purchases`, {
        as: sponsorKey,
        body,
      })
      if (answer.status !== 201) throw new Error(`buy answered ${JSON.stringify(answer.body)}`)
      return answer.body
    },
    checkout: (purchase, body = RETURN_URLS) =>
      app.request('POST', `${path}/purchases/${purchase}/checkout`, { as: sponsorKey, body }),
    async openSession(purchase) {
      const { status, body } = await shop.checkout(purchase)
      if (status !== 200) throw new Error(`checkout answered ${JSON.stringify(body)}`)
      return String(body['session_id'])
    },
    async get(purchase) {
      const url = `${path}/purchases/${purchase}`
      return (await app.request<PurchaseAnswer>('GET', url)).body
    },
    act: (purchase, action, body) =>
      app.request(
        'POST',
        `${path}/purchases/${purchase}/${action}`,
        body === undefined ? {} : { body },
      ),
    async codes(purchase) {
      const url = `${path}/purchases/${purchase}/vouchers?limit=100`
      const { body } = await app.request<{ data: { code: string }[] }>('GET', url)
      return body.data.map(({ code }) => code)
    },
  }
  return shop
}

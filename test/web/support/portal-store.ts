import type { FakeStripe } from 'fake-stripe/source'
import { unique } from '../../support/fixtures.ts'
import { openShop, type Shop } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'
import type { PHONE, Site, Visitor } from './browser.ts'

/** A shop and the people of its sponsor. */
export type Store = Shop & {
  slug: string
  /** A member of the sponsor, on a page of the portal. */
  visit(path?: string, viewport?: typeof PHONE): Promise<Visitor>
  /** As staff, for the sponsor. */
  give(order?: Body): Promise<string>
  /** A purchase that was paid on Stripe's page. */
  buyPaid(order?: Body): Promise<string>
}

export async function openStore(
  site: Site,
  stripe: { readonly fake: FakeStripe },
  settings: Body = {},
): Promise<Store> {
  const { app } = site
  const shop = await openShop(app, settings)
  const { path, sponsor, ticketType } = shop
  const { slug } = (await app.request<{ slug: string }>('GET', path)).body

  async function post(to: string, body: Body): Promise<{ id: string }> {
    const answer = await app.request<{ id: string }>('POST', `${path}${to}`, { body })
    if (answer.status !== 201) throw new Error(`${to} answered ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  return {
    ...shop,
    slug,
    async visit(page = '', viewport) {
      const email = `${unique('ada')}@acme.example`
      await post('/users', { email, role: 'sponsor', sponsor, name: 'Ada Lovelace' })
      return site.visitAs(email, `/portal/${slug}${page}`, viewport)
    },
    give: async (order = {}) =>
      (await post('/purchases', { sponsor, ticket_type: ticketType, quantity: 10, ...order })).id,
    async buyPaid(order = {}) {
      const { id } = await shop.buy(order)
      stripe.fake.control.pay(await shop.openSession(id))
      const { body } = await shop.act(id, 'reconcile')
      if (body.status !== 'PAID') throw new Error(`The purchase is ${body.status}`)
      return id
    },
  }
}

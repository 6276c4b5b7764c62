import { describe, expect, it } from 'vitest'
import { useInboxApp, type WiredShop } from '../../stripe-events/inbox-app.ts'
import { RETURN_URLS } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'

const app = useInboxApp()

async function customerOf(shop: WiredShop): Promise<{ id: string; stripe: string }> {
  const { body } = await app.request<Body>('POST', `${shop.path}/customers`, {
    as: shop.sponsorKey,
    body: {},
  })
  return { id: String(body['id']), stripe: String(body['stripe_customer']) }
}

const now = async (shop: WiredShop, id: string) =>
  (await app.request<Body>('GET', `${shop.path}/customers/${id}`)).body

describe('webhooks of customers and cards', () => {
  it('make the first saved card the default, and finish all events', async () => {
    const shop = await app.openWiredShop()
    const { id } = await customerOf(shop)
    const { body } = await app.request<Body>(
      'POST',
      `${shop.path}/customers/${id}/payment-methods/setup`,
      { as: shop.sponsorKey, body: RETURN_URLS },
    )
    app.fake.control.pay(String(body['session_id']))
    await app.settle()
    expect(await now(shop, id)).toMatchObject({
      default_payment_method: expect.stringMatching(/^pm_/),
    })
    const cards = await app.request<{ data: Body[] }>(
      'GET',
      `${shop.path}/customers/${id}/payment-methods`,
    )
    expect(cards.body.data).toMatchObject([{ is_default: true }])
    const events = await app.events(shop)
    expect(events.map(({ type }) => type)).toContain('checkout.session.completed')
    expect(events.filter(({ status }) => status !== 'done')).toEqual([])
  })

  it('F12: remove a customer that was deleted at Stripe, and its cards', async () => {
    const shop = await app.openWiredShop()
    const customer = await customerOf(shop)
    const path = `/v1/payment_methods/pm_card_visa/attach`
    app.fake.control.call(shop.stripeKey, 'POST', path, { customer: customer.stripe })
    await app.settle()
    expect(await now(shop, customer.id)).toMatchObject({ stripe_customer: customer.stripe })
    app.fake.control.call(shop.stripeKey, 'DELETE', `/v1/customers/${customer.stripe}`)
    await app.settle()
    expect(await now(shop, customer.id)).toMatchObject({
      stripe_customer: null,
      default_payment_method: null,
    })
    const cards = await app.request<{ data: Body[] }>(
      'GET',
      `${shop.path}/customers/${customer.id}/payment-methods`,
    )
    expect(cards.body.data).toEqual([])
    expect((await app.events(shop)).filter(({ status }) => status === 'failed')).toEqual([])
  })
})

import { beforeEach, describe, expect, it } from 'vitest'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
} from '../../support/fixtures.ts'
import { openShop, RETURN_URLS, type Shop } from '../../support/shop.ts'
import { useAppOnStripe } from '../../support/stripe-app.ts'
import { type Body } from '../../support/test-app.ts'

const { app, stripe } = useAppOnStripe()

type Made = Body & {
  id: string
  sponsor: string
  stripe_customer: string | null
  default_payment_method: string | null
}
type Method = { id: string; brand: string; last4: string; is_default: boolean }

let shop: Shop
beforeEach(async () => {
  stripe.fake.control.clearFaults()
  shop = await openShop(app)
})

const create = (as: string | undefined = shop.sponsorKey, body: Body = {}) =>
  app.request<Made>('POST', `${shop.path}/customers`, { ...(as === undefined ? {} : { as }), body })

async function made(): Promise<Made & { stripe_customer: string }> {
  const { status, body } = await create()
  if (status !== 201 || body.stripe_customer === null) throw new Error(JSON.stringify(body))
  return { ...body, stripe_customer: body.stripe_customer }
}

const url = (id: string, rest = '') => `${shop.path}/customers/${id}${rest}`
const post = (id: string, rest: string, body: Body = {}) =>
  app.request<Made>('POST', url(id, rest), { as: shop.sponsorKey, body })
const methods = async (id: string) => {
  const { body } = await app.request<{ data: Method[] }>('GET', url(id, '/payment-methods'), {
    as: shop.sponsorKey,
  })
  return body.data
}

/** Saves a card, as Stripe's page does. */
function attach(customer: string, card = 'pm_card_visa'): string {
  const path = `/v1/payment_methods/${card}/attach`
  const { id } = stripe.fake.control.call(shop.stripeKey, 'POST', path, { customer }) as Body
  return String(id)
}

const createdAtStripe = () => stripe.fake.control.list(shop.stripeKey, 'customer')

describe('a sponsor’s customer', () => {
  it('is created once by 20 concurrent requests, with our ids in its metadata', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => create()))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(201))
    expect(new Set(answers.map(({ body }) => `${body.id} ${body.stripe_customer}`)).size).toBe(1)
    const [body] = answers.map((answer) => answer.body)
    expect(createdAtStripe()).toMatchObject([
      {
        id: body?.stripe_customer,
        email: 'team@acme.example',
        metadata: {
          customer_id: body?.id,
          conference_id: shop.conference,
          sponsor_id: shop.sponsor,
        },
      },
    ])
  })

  it('is the same one after a lost response, since a retry uses the same key', async () => {
    stripe.fake.control.injectFault({
      path: '/v1/customers',
      times: 'always',
      action: { kind: 'fail_after' },
    })
    expect((await create()).status).toBe(503)
    stripe.fake.control.clearFaults()
    const customer = await made()
    expect(createdAtStripe().map(({ id }) => id)).toEqual([customer.stripe_customer])
  })

  it('gets another key when Stripe stored an error under the first', async () => {
    stripe.fake.control.injectFault({
      path: '/v1/customers',
      action: { kind: 'error', stored: true },
    })
    expect((await create()).status).toBe(502)
    expect((await create()).status).toBe(201)
    expect(createdAtStripe()).toHaveLength(1)
  })

  it('F6: has a null id at Stripe until it exists there, never an empty one', async () => {
    stripe.fake.control.injectFault({
      path: '/v1/customers',
      times: 'always',
      action: { kind: 'cut' },
    })
    expect((await create()).status).toBe(503)
    stripe.fake.control.clearFaults()
    const { body } = await app.request<{ data: Made[] }>('GET', `${shop.path}/customers`)
    expect(body.data).toMatchObject([{ sponsor: shop.sponsor, stripe_customer: null }])
    const empty = app.rows(
      `update customers set stripe_customer_id = '' where conference_id = $1`,
      [shop.conference],
    )
    await expect(empty).rejects.toThrow(/customers_stripe_customer_shape/)
  })

  it('is replaced by the next request after it was deleted at Stripe', async () => {
    const before = await made()
    stripe.fake.control.call(shop.stripeKey, 'DELETE', `/v1/customers/${before.stripe_customer}`)
    const { status } = await post(before.id, '/payment-methods/setup', RETURN_URLS)
    expect(status).toBe(200)
    const { body } = await app.request<Made>('GET', url(before.id))
    expect(body.id).toBe(before.id)
    expect(body.stripe_customer).not.toBe(before.stripe_customer)
    expect(createdAtStripe().map(({ id }) => id)).toEqual([body.stripe_customer])
  })

  it('shows no id when the mirror has its tombstone, and is replaced as well', async () => {
    const before = await made()
    stripe.fake.control.call(shop.stripeKey, 'DELETE', `/v1/customers/${before.stripe_customer}`)
    const refreshed = await post(before.id, '/refresh')
    expect(refreshed).toMatchObject({ status: 200, body: { stripe_customer: null } })
    const after = await made()
    expect(after.id).toBe(before.id)
    expect(after.stripe_customer).not.toBe(before.stripe_customer)
  })

  it('is found in the mirror after a crash before its id was saved', async () => {
    const customer = await made()
    await app.rows(
      `update customers set stripe_customer_id = null, idempotency_key = 'spent after a day'
       where conference_id = $1`,
      [shop.conference],
    )
    expect((await made()).stripe_customer).toBe(customer.stripe_customer)
    expect(createdAtStripe()).toHaveLength(1)
  })

  it('is created by staff with billing:write for any sponsor, by a sponsor only for itself', async () => {
    const staff = await createStaffKey(app, shop, ['billing:write'])
    const other = await createSponsor(app, shop)
    expect((await create(staff.key, { sponsor: other.slug })).body.sponsor).toBe(other.id)
    expect(await create(staff.key)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/sponsor' }] },
    })
    expect(await create(shop.sponsorKey, { sponsor: other.id })).toMatchObject({ status: 400 })
    const bare = await createStaffKey(app, shop, ['catalog:write'])
    expect((await create(bare.key, { sponsor: other.slug })).status).toBe(403)
    const list = await app.request<{ data: Made[] }>('GET', `${shop.path}/customers`, {
      as: shop.sponsorKey,
    })
    expect(list.body.data).toEqual([])
  })

  it('is not visible to another sponsor', async () => {
    const customer = await made()
    const other = await createSponsor(app, shop)
    const { key } = await createSponsorKey(app, shop, other.id)
    for (const rest of ['', '/payment-methods']) {
      const answer = await app.request('GET', url(customer.id, rest), { as: key })
      expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
    }
    const id = attach(customer.stripe_customer)
    for (const rest of ['/refresh', `/payment-methods/${id}/default`]) {
      const answer = await app.request('POST', url(customer.id, rest), { as: key, body: {} })
      expect(answer).toMatchObject({ status: 404 })
    }
    const gone = await app.request('DELETE', url(customer.id, `/payment-methods/${id}`), {
      as: key,
    })
    expect(gone.status).toBe(404)
  })

  it('F20: names an unknown field, and fails with stripe_key_missing without a key', async () => {
    expect(await create(shop.sponsorKey, { stripe_js_response: '{}' })).toMatchObject({
      status: 400,
      body: { code: 'validation_failed' },
    })
    const keyless = await createConference(app, { stripe_secret_key: undefined })
    const sponsor = await createSponsor(app, keyless)
    const answer = await app.request('POST', `${keyless.path}/customers`, {
      body: { sponsor: sponsor.id },
    })
    expect(answer).toMatchObject({ status: 409, body: { code: 'stripe_key_missing' } })
  })
})

describe('a saved card', () => {
  it('is saved on a Checkout page and becomes the default if it is the first', async () => {
    const customer = await made()
    const { status, body } = await post(customer.id, '/payment-methods/setup', RETURN_URLS)
    expect(status).toBe(200)
    const session = String(body['session_id'])
    expect(stripe.fake.control.get(session)).toMatchObject({
      mode: 'setup',
      customer: customer.stripe_customer,
      metadata: { customer_id: customer.id, conference_id: shop.conference },
      client_reference_id: null,
    })
    stripe.fake.control.pay(session)
    const refreshed = await post(customer.id, '/refresh')
    const [method, ...others] = await methods(customer.id)
    expect(others).toEqual([])
    expect(method).toMatchObject({ brand: 'visa', last4: '4242', is_default: true })
    expect(refreshed.body.default_payment_method).toBe(method?.id)
  })

  it('needs return URLs by the same rules as purchases', async () => {
    const customer = await made()
    const urls = { ...RETURN_URLS, success_url: 'http://shop.example/ok' }
    const { status, body } = await post(customer.id, '/payment-methods/setup', urls)
    expect(status).toBe(400)
    expect(body['errors']).toMatchObject([{ pointer: '/success_url' }])
  })

  it('gets one Checkout session per Idempotency-Key', async () => {
    const customer = await made()
    const send = () =>
      app.request('POST', url(customer.id, '/payment-methods/setup'), {
        as: shop.sponsorKey,
        body: RETURN_URLS,
        headers: { 'idempotency-key': 'one' },
      })
    const [first, second] = [await send(), await send()]
    expect(first.body['session_id']).toBe(second.body['session_id'])
    expect(stripe.fake.control.list(shop.stripeKey, 'checkout.session')).toHaveLength(1)
  })

  it('F6: stays the default when another one is declined or saved later', async () => {
    const customer = await made()
    const first = attach(customer.stripe_customer)
    await post(customer.id, '/refresh')
    const decline = () => {
      const intent = stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/setup_intents', {
        customer: customer.stripe_customer,
      }) as Body
      stripe.fake.control.call(
        shop.stripeKey,
        'POST',
        `/v1/setup_intents/${String(intent['id'])}/confirm`,
        { payment_method: 'pm_card_visa_chargeDeclined' },
      )
    }
    expect(decline).toThrow(/declined/)
    const second = attach(customer.stripe_customer, 'pm_card_mastercard')
    const { body } = await post(customer.id, '/refresh')
    expect(body.default_payment_method).toBe(first)
    const saved = await methods(customer.id)
    expect(saved.map(({ id, is_default }) => [id, is_default])).toEqual(
      expect.arrayContaining([
        [first, true],
        [second, false],
      ]),
    )
    expect(saved).toHaveLength(2)
  })

  it('F12: can be made the default and detached; then the oldest other card is the default', async () => {
    const customer = await made()
    const [first, second] = [
      attach(customer.stripe_customer),
      attach(customer.stripe_customer, 'pm_card_amex'),
    ]
    await post(customer.id, '/refresh')
    const chosen = await post(customer.id, `/payment-methods/${second}/default`)
    expect(chosen).toMatchObject({ status: 200, body: { default_payment_method: second } })
    const detach = (id: string) =>
      app.request('DELETE', url(customer.id, `/payment-methods/${id}`), { as: shop.sponsorKey })
    expect((await detach(second)).status).toBe(204)
    expect(await methods(customer.id)).toMatchObject([{ id: first, is_default: true }])
    expect((await detach(second)).status).toBe(404)
    expect((await detach(first)).status).toBe(204)
    expect(await methods(customer.id)).toEqual([])
    const { body } = await app.request<Made>('GET', url(customer.id))
    expect(body.default_payment_method).toBeNull()
  })

  it('F12: is removed by a refresh after it was detached in Stripe’s dashboard', async () => {
    const customer = await made()
    const card = attach(customer.stripe_customer)
    await post(customer.id, '/refresh')
    expect(await methods(customer.id)).toHaveLength(1)
    stripe.fake.control.call(shop.stripeKey, 'POST', `/v1/payment_methods/${card}/detach`)
    await post(customer.id, '/refresh')
    expect(await methods(customer.id)).toEqual([])
  })

  it('of another sponsor cannot be made the default', async () => {
    const customer = await made()
    const foreign = stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/customers') as Body
    const card = attach(String(foreign['id']))
    for (const id of [card, 'pm_unknown']) {
      const answer = await post(customer.id, `/payment-methods/${id}/default`)
      expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
    }
  })
})

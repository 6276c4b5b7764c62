import { beforeAll, describe, expect, it } from 'vitest'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createTicketType,
} from '../support/fixtures.ts'
import { openShop, RETURN_URLS, type Shop, useFakeStripe } from '../support/shop.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const OWN_ORIGIN = 'https://vouchers.example'

const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
  env['STRIPE_TIMEOUT_SECONDS'] = '2'
  env['PUBLIC_URL'] = OWN_ORIGIN
})
const app = useTestApp({ env })

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

const CREATE = '/v1/checkout/sessions'
const createdSessions = (purchase: string) =>
  stripe.fake.control
    .requests({ method: 'POST', path: CREATE })
    .filter(({ params }) => params['client_reference_id'] === purchase)

describe('the payment page', () => {
  it('is opened with the purchase’s own price and quantity, and our ids in three places', async () => {
    const purchase = await shop.buy({ quantity: 40 })
    expect(purchase).toMatchObject({ status: 'PENDING', total_amount: 40_000 })
    const { status, body } = await shop.checkout(purchase.id)
    expect(status).toBe(200)
    expect(body).toMatchObject({ session_id: expect.stringMatching(/^cs_test_/) })
    const [request] = createdSessions(purchase.id)
    expect(request).toMatchObject({
      idempotencyKey: `bp:${purchase.id}:checkout:1`,
      params: {
        mode: 'payment',
        success_url: RETURN_URLS.success_url,
        client_reference_id: purchase.id,
        adaptive_pricing: { enabled: 'false' },
        allow_promotion_codes: 'false',
        metadata: { purchase_id: purchase.id, conference_id: shop.conference },
        payment_intent_data: { metadata: { purchase_id: purchase.id } },
        line_items: { 0: { quantity: '40', price_data: { currency: 'eur', unit_amount: '1000' } } },
      },
    })
    // For Stripe's default of 24 hours, no parameter is sent.
    expect(request?.params).not.toHaveProperty('expires_at')
    expect(await shop.get(purchase.id)).toMatchObject({
      status: 'PROCESSING',
      checkout: { session_id: body['session_id'], url: body['url'], attempt: 1 },
      allowed_actions: ['checkout', 'cancel', 'mark_paid', 'reconcile'],
    })
  })

  it('is the same for a repeated request and for two parallel ones', async () => {
    const purchase = await shop.buy()
    const both = await Promise.all([shop.checkout(purchase.id), shop.checkout(purchase.id)])
    const again = await shop.checkout(purchase.id)
    expect(both.map(({ status }) => status)).toEqual([200, 200])
    expect(new Set([...both, again].map(({ body }) => body['session_id'])).size).toBe(1)
  })

  it('is replaced for other return URLs, and the old one can no longer be paid', async () => {
    const purchase = await shop.buy()
    const first = await shop.openSession(purchase.id)
    const { body } = await shop.checkout(purchase.id, {
      ...RETURN_URLS,
      success_url: 'https://shop.example/other',
    })
    expect(body['session_id']).not.toBe(first)
    expect(() => stripe.fake.control.pay(first)).toThrow(/expired|open/i)
    expect((await shop.get(purchase.id)).checkout).toMatchObject({ attempt: 2 })
  })

  it('can be opened again after the first expired (D16)', async () => {
    const purchase = await shop.buy()
    const first = await shop.openSession(purchase.id)
    stripe.fake.control.expire(first)
    const failed = await shop.act(purchase.id, 'reconcile')
    expect(failed.body).toMatchObject({ status: 'FAILED', failure: { code: 'checkout_expired' } })
    const second = await shop.openSession(purchase.id)
    expect(second).not.toBe(first)
    stripe.fake.control.pay(second)
    const paid = await shop.act(purchase.id, 'reconcile')
    expect(paid.body).toMatchObject({ status: 'PAID', vouchers: { issued: 10, active: 10 } })
  })

  it('is refused for a paid purchase, with its status and the allowed actions (D6)', async () => {
    const purchase = await shop.buy()
    const session = await shop.openSession(purchase.id)
    stripe.fake.control.pay(session)
    await shop.act(purchase.id, 'reconcile')
    expect(await shop.checkout(purchase.id)).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'PAID', allowed_actions: [] },
    })
    expect((await shop.get(purchase.id)).status).toBe('PAID')
  })

  it('is refused while a bank debit is pending', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.payLater(await shop.openSession(purchase.id))
    await shop.act(purchase.id, 'reconcile')
    for (const answer of [
      await shop.checkout(purchase.id),
      await shop.act(purchase.id, 'cancel'),
    ]) {
      expect(answer).toMatchObject({ status: 409, body: { code: 'payment_in_progress' } })
    }
  })

  it('expires after the time that the conference sets', async () => {
    const short = await openShop(app, { checkout_expires_after_minutes: 31 })
    const purchase = await short.buy()
    const { body } = await short.checkout(purchase.id)
    const minutes = (Date.parse(String(body['expires_at'])) - Date.now()) / 60_000
    expect(minutes).toBeGreaterThan(30)
    expect(minutes).toBeLessThanOrEqual(31)
  })
})

describe('when Stripe', () => {
  it('is down: 503 with Retry-After, nothing changes, and a retry opens exactly one session', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.injectFault({ path: CREATE, times: 'always', action: { kind: 'cut' } })
    const down = await shop.checkout(purchase.id)
    stripe.fake.control.clearFaults()
    expect(down).toMatchObject({ status: 503, body: { code: 'stripe_unavailable' } })
    expect(Number(down.headers['retry-after'])).toBeGreaterThan(0)
    expect((await shop.get(purchase.id)).status).toBe('PENDING')
    await shop.openSession(purchase.id)
    const keys = new Set(createdSessions(purchase.id).map(({ idempotencyKey }) => idempotencyKey))
    expect([...keys]).toEqual([`bp:${purchase.id}:checkout:1`])
  })

  it('opened the session but its response was lost: the retry gets that session', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.injectFault({
      path: CREATE,
      times: 'always',
      action: { kind: 'fail_after' },
    })
    expect((await shop.checkout(purchase.id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    const session = await shop.openSession(purchase.id)
    const opened = stripe.fake.control
      .events({ type: 'checkout.session.*' })
      .filter(({ data }) => JSON.stringify(data).includes(purchase.id))
    expect(opened.length).toBeLessThanOrEqual(1)
    expect(createdSessions(purchase.id).at(-1)).toMatchObject({ replayed: true })
    expect((await shop.get(purchase.id)).checkout?.session_id).toBe(session)
  })

  it('stores a 500 under the key: the next attempt has a new key and one session', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.injectFault({
      path: CREATE,
      times: 1,
      action: { kind: 'error', stored: true },
    })
    expect(await shop.checkout(purchase.id)).toMatchObject({
      status: 502,
      body: { code: 'stripe_failed' },
    })
    await shop.openSession(purchase.id)
    expect((await shop.get(purchase.id)).checkout).toMatchObject({ attempt: 2 })
  })

  it('refuses: 409 with Stripe’s message, and the purchase stays PENDING', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.injectFault({ path: CREATE, action: { kind: 'refuse', status: 400 } })
    expect(await shop.checkout(purchase.id)).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused' },
    })
    expect((await shop.get(purchase.id)).status).toBe('PENDING')
  })

  it('is slow: 503 after our timeout, and a retry gets one session', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.injectFault({ path: CREATE, times: 'always', action: { kind: 'hang' } })
    expect((await shop.checkout(purchase.id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    await shop.openSession(purchase.id)
    expect((await shop.get(purchase.id)).checkout).toMatchObject({ attempt: 1 })
  })

  it('has no key: 409 with a code, and the purchase stays PENDING', async () => {
    const conference = await createConference(app, { stripe_secret_key: undefined })
    const sponsor = await createSponsor(app, conference)
    const { key } = await createSponsorKey(app, conference, sponsor.id)
    const { id } = await createTicketType(app, conference)
    const url = `${conference.path}/purchases`
    const made = await app.request('POST', url, { as: key, body: { ticket_type: id, quantity: 1 } })
    const path = `${url}/${String(made.body['id'])}`
    expect(
      await app.request('POST', `${path}/checkout`, { as: key, body: RETURN_URLS }),
    ).toMatchObject({ status: 409, body: { code: 'stripe_key_missing' } })
    expect((await app.request('GET', path)).body).toMatchObject({ status: 'PENDING' })
  })
})

describe('a return URL', () => {
  it.each([
    ['http://shop.example/ok', /https/],
    ['javascript:alert(1)', /https/],
    ['/relative', /absolute/],
    ['https://user:pw@shop.example/', /user name or password/],
  ])('is not %s', async (success_url, reason) => {
    const purchase = await shop.buy()
    const { status, body } = await shop.checkout(purchase.id, { ...RETURN_URLS, success_url })
    expect(status).toBe(400)
    expect(body['errors']).toEqual([
      { pointer: '/success_url', detail: expect.stringMatching(reason) },
    ])
  })

  it('can be a loopback address without https', async () => {
    const purchase = await shop.buy()
    const urls = { success_url: 'http://localhost:8080/ok', cancel_url: 'http://127.0.0.1/no' }
    expect((await shop.checkout(purchase.id, urls)).status).toBe(200)
  })

  it('must be on one of the conference’s allowed origins if it has any', async () => {
    const strict = await openShop(app, { allowed_origins: ['https://tickets.example'] })
    const purchase = await strict.buy()
    const { status, body } = await strict.checkout(purchase.id)
    expect(status).toBe(400)
    expect(body['errors']).toHaveLength(2)
    const good = {
      success_url: 'https://tickets.example/ok',
      cancel_url: 'https://tickets.example/',
    }
    expect((await strict.checkout(purchase.id, good)).status).toBe(200)
  })

  it('can always be a page of this service, which has the portal', async () => {
    const strict = await openShop(app, { allowed_origins: ['https://tickets.example'] })
    const purchase = await strict.buy()
    const page = `${OWN_ORIGIN}/portal/any/purchases/${purchase.id}`
    const urls = { success_url: `${page}?from=checkout`, cancel_url: page }
    expect((await strict.checkout(purchase.id, urls)).status).toBe(200)
    const { body } = await strict.checkout(purchase.id, {
      success_url: page.replace('://', '://eve@'),
      cancel_url: page,
    })
    expect(body['errors']).toMatchObject([{ pointer: '/success_url' }])
  })
})

describe('an Idempotency-Key on the checkout', () => {
  it('returns the first response again, even after the session expired', async () => {
    const purchase = await shop.buy()
    const url = `${shop.path}/purchases/${purchase.id}/checkout`
    const send = (body: Body = RETURN_URLS) =>
      app.request('POST', url, {
        as: shop.sponsorKey,
        body,
        headers: { 'idempotency-key': `k-${purchase.id}` },
      })
    const first = await send()
    stripe.fake.control.expire(String(first.body['session_id']))
    await shop.act(purchase.id, 'reconcile')
    expect(await send()).toMatchObject({ status: 200, body: first.body })
    expect(await send({ ...RETURN_URLS, cancel_url: 'https://other.example/' })).toMatchObject({
      status: 422,
      body: { code: 'idempotency_key_reused' },
    })
  })

  it('resumes the same attempt after an unknown outcome', async () => {
    const purchase = await shop.buy()
    const send = () =>
      app.request('POST', `${shop.path}/purchases/${purchase.id}/checkout`, {
        as: shop.sponsorKey,
        body: RETURN_URLS,
        headers: { 'idempotency-key': `k-${purchase.id}` },
      })
    stripe.fake.control.injectFault({
      path: CREATE,
      times: 'always',
      action: { kind: 'fail_after' },
    })
    expect((await send()).status).toBe(503)
    stripe.fake.control.clearFaults()
    expect((await send()).status).toBe(200)
    expect((await shop.get(purchase.id)).checkout).toMatchObject({ attempt: 1 })
  })
})

describe('cancelling', () => {
  it('fails an unpaid purchase and closes its page', async () => {
    const purchase = await shop.buy()
    const session = await shop.openSession(purchase.id)
    const cancelled = await shop.act(purchase.id, 'cancel')
    expect(cancelled).toMatchObject({
      status: 200,
      body: { status: 'FAILED', failure: { code: 'cancelled' } },
    })
    expect(() => stripe.fake.control.pay(session)).toThrow(/expired|open/i)
    expect(await shop.act(purchase.id, 'cancel')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'FAILED' },
    })
  })

  it('fails if the payer was faster, and the purchase is PAID', async () => {
    const purchase = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(purchase.id))
    expect(await shop.act(purchase.id, 'cancel')).toMatchObject({
      status: 409,
      body: { code: 'payment_in_progress' },
    })
    const paid = await shop.act(purchase.id, 'reconcile')
    expect(paid.body).toMatchObject({ status: 'PAID' })
  })
})

import { afterEach, describe, expect, it } from 'vitest'
import { unique } from '../support/fixtures.ts'
import { sweepAndWork } from '../support/purchase-jobs.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppBehindProxy } from '../support/stripe-app.ts'

const { app, stripe, proxy } = useAppBehindProxy()
afterEach(() => stripe.fake.control.clearFaults())

async function paid(): Promise<{ shop: Shop; id: string }> {
  const shop = await openShop(app)
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  expect((await shop.act(id, 'reconcile')).body.status).toBe('PAID')
  return { shop, id }
}

/** A refund of 10.00 under one Idempotency-Key, as often as the returned function is called. */
function refundOnce(shop: Shop, id: string) {
  const key = unique('refund')
  return () =>
    app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${id}/refund`, {
      body: { amount: 1_000 },
      headers: { 'idempotency-key': key },
    })
}

const refundsAtStripe = (shop: Shop) => stripe.fake.control.list(shop.stripeKey, 'refund')

describe('a refund', () => {
  it.each([
    ['the disputes', '/v1/disputes', 403],
    ['the disputes', '/v1/disputes', 400],
    ['the payment', '/v1/payment_intents/*', 401],
    ['the refunds', '/v1/refunds', 404],
  ])(
    'is made once under one Idempotency-Key while Stripe refuses to show %s (%s: %i) (issue 8, line 6)',
    async (_, path, status) => {
      const { shop, id } = await paid()
      const refund = refundOnce(shop, id)
      const action = { kind: 'refuse', status } as const
      stripe.fake.control.injectFault({ method: 'GET', path, times: 'always', action })
      const answers = [await refund(), await refund(), await refund()]
      expect(refundsAtStripe(shop)).toHaveLength(1)
      const code = status === 401 || status === 403 ? 'stripe_key_rejected' : 'stripe_failed'
      for (const answer of answers) expect(answer).toMatchObject({ status: 502, body: { code } })
      stripe.fake.control.clearFaults()
      const done = await refund()
      expect(done).toMatchObject({
        status: 200,
        body: { status: 'PAID', amount_refunded: 1_000, vouchers: { active: 9, deactivated: 1 } },
      })
      expect(await refund()).toMatchObject({ status: 200, body: done.body })
      expect(refundsAtStripe(shop)).toHaveLength(1)
    },
  )

  /** Stripe makes the refund, its answer is lost, and the key is revoked before the request is repeated. */
  async function lostBeforeRevocation() {
    const { shop, id } = await paid()
    const refund = refundOnce(shop, id)
    const freshKey = stripe.fake.control.createKey(shop.stripeKey)
    const held = proxy.holdAnswer({ method: 'POST', path: /^\/v1\/refunds$/ })
    const first = refund()
    await held.reached
    stripe.fake.control.revokeKey(shop.stripeKey)
    held.release('lose')
    expect(await first).toMatchObject({ status: 502, body: { code: 'stripe_key_rejected' } })
    const refunds = () => stripe.fake.control.list(freshKey, 'refund')
    expect(refunds()).toHaveLength(1)
    const setKey = () => app.request('PATCH', shop.path, { body: { stripe_secret_key: freshKey } })
    return { shop, id, refund, refunds, setKey }
  }

  const REFUNDED = { status: 'PAID', amount_refunded: 1_000, vouchers: { deactivated: 1 } }

  it.each([0, 25])(
    'whose answer was lost before the key was revoked is made once, repeated %i hours later with a new key (issue 8, line 7)',
    async (hours) => {
      const { refund, refunds, setKey } = await lostBeforeRevocation()
      // After a day, Stripe has forgotten the idempotency key of the first request.
      stripe.fake.control.clock.advance(hours * 3_600)
      expect(await refund()).toMatchObject({ status: 502, body: { code: 'stripe_key_rejected' } })
      expect((await setKey()).status).toBe(200)
      expect(await refund()).toMatchObject({ status: 200, body: REFUNDED })
      expect(refunds()).toHaveLength(1)
    },
  )

  it('whose answer was lost before the key was revoked is found by the timer, and counts as refunded until then (issue 8, line 7)', async () => {
    const { shop, id, refund, refunds, setKey } = await lostBeforeRevocation()
    expect((await setKey()).status).toBe(200)
    expect(await shop.act(id, 'refund', { amount: 9_500 })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/amount' }] },
    })
    expect(await sweepAndWork(app, shop.conference)).toBe(0)
    expect(await shop.get(id)).toMatchObject(REFUNDED)
    expect(await refund()).toMatchObject({ status: 200, body: REFUNDED })
    expect(refunds()).toHaveLength(1)
  })

  it('that a rejected key answered after the work is not made again (issue 8, line 7)', async () => {
    const { shop, id } = await paid()
    const refund = refundOnce(shop, id)
    const action = { kind: 'refuse', status: 401, executed: true } as const
    stripe.fake.control.injectFault({ method: 'POST', path: '/v1/refunds', action })
    expect((await refund()).body).toMatchObject({ code: 'stripe_key_rejected' })
    expect((await refund()).body).toMatchObject(REFUNDED)
    expect(refundsAtStripe(shop)).toHaveLength(1)
  })
})

/** The answer of the first request is lost, and Stripe refuses the next one. */
function loseThenRefuse(path: string): void {
  const request = { method: 'POST', path } as const
  stripe.fake.control.injectFault({ ...request, action: { kind: 'fail_after' } })
  stripe.fake.control.injectFault({
    ...request,
    times: 'always',
    action: { kind: 'refuse', status: 400 },
  })
}

it('a refund whose answer was lost is found although Stripe refuses the next request (issue 8, line 7)', async () => {
  const { shop, id } = await paid()
  const refund = refundOnce(shop, id)
  loseThenRefuse('/v1/refunds')
  expect(await refund()).toMatchObject({ status: 200, body: { amount_refunded: 1_000 } })
  expect(refundsAtStripe(shop)).toHaveLength(1)
})

describe('a checkout', () => {
  const sessions = (shop: Shop) => stripe.fake.control.list(shop.stripeKey, 'checkout.session')

  it('whose answer was lost opens one page although Stripe refuses the next request (issue 8, line 7)', async () => {
    const shop = await openShop(app)
    const { id } = await shop.buy()
    loseThenRefuse('/v1/checkout/sessions')
    const { status, body } = await shop.checkout(id)
    expect(status).toBe(200)
    expect(sessions(shop)).toMatchObject([{ id: body['session_id'], status: 'open' }])
  })

  it('whose answer was lost is found by a later request that Stripe refuses (issue 8, line 7)', async () => {
    const shop = await openShop(app)
    const { id } = await shop.buy()
    const request = { method: 'POST', path: '/v1/checkout/sessions', times: 'always' } as const
    stripe.fake.control.injectFault({ ...request, action: { kind: 'fail_after' } })
    expect((await shop.checkout(id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    stripe.fake.control.injectFault({ ...request, action: { kind: 'refuse', status: 400 } })
    const { status, body } = await shop.checkout(id)
    expect(status).toBe(200)
    expect(sessions(shop)).toMatchObject([{ id: body['session_id'], status: 'open' }])
  })

  it.each([401, 403])(
    'that a rejected key answered %i after the work opens one page, however it is repeated (issue 8, line 7)',
    async (status) => {
      const shop = await openShop(app)
      const { id } = await shop.buy()
      const action = { kind: 'refuse', status, executed: true } as const
      const request = { method: 'POST', path: '/v1/checkout/sessions' } as const
      stripe.fake.control.injectFault({ ...request, action })
      expect(await shop.checkout(id)).toMatchObject({
        status: 502,
        body: { code: 'stripe_key_rejected' },
      })
      const answer = await shop.checkout(id)
      expect(answer.status).toBe(200)
      expect(sessions(shop)).toMatchObject([{ id: answer.body['session_id'], status: 'open' }])
      stripe.fake.control.pay(String(answer.body['session_id']))
      expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID', flags: [] })
    },
  )

  it('whose answer was lost before the key was revoked leaves no page open on a cancelled purchase (issue 8, line 7)', async () => {
    const shop = await openShop(app)
    const { id } = await shop.buy()
    const freshKey = stripe.fake.control.createKey(shop.stripeKey)
    const held = proxy.holdAnswer({ method: 'POST', path: /^\/v1\/checkout\/sessions$/ })
    const first = shop.checkout(id)
    await held.reached
    stripe.fake.control.revokeKey(shop.stripeKey)
    held.release('lose')
    expect(await first).toMatchObject({ status: 502, body: { code: 'stripe_key_rejected' } })
    expect(await shop.act(id, 'cancel')).toMatchObject({
      status: 502,
      body: { code: 'stripe_key_rejected' },
    })
    await app.request('PATCH', shop.path, { body: { stripe_secret_key: freshKey } })
    expect((await shop.act(id, 'cancel')).body).toMatchObject({ status: 'FAILED' })
    const all = stripe.fake.control.list(freshKey, 'checkout.session')
    expect(all).toMatchObject([{ status: 'expired' }])
  })
})

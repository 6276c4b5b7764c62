import { afterEach, describe, expect, it } from 'vitest'
import type { RefundParams } from '../../src/payments/payment-gateway.ts'
import { PARAMS, useStripeScene } from './stripe-scene.ts'

const scene = useStripeScene()
const SESSIONS = '/v1/checkout/sessions'
const REFUNDS = '/v1/refunds'

afterEach(() => scene.fake.control.clearFaults())

const requestsOf = (purchase: string) =>
  scene.fake.control
    .requests({ method: 'POST', path: SESSIONS })
    .filter(({ params }) => params['client_reference_id'] === purchase)

describe('opening a Checkout session', () => {
  it('sends the saved parameters and our ids, and fixes the total (D13)', async () => {
    const ref = scene.newRef()
    await scene.open(ref)
    const metadata = {
      purchase_id: ref.purchaseId,
      conference_id: ref.conferenceId,
      attempt: '1',
      sponsor_id: 'spon_1',
    }
    expect(requestsOf(ref.purchaseId)).toMatchObject([
      { idempotencyKey: `bp:${ref.purchaseId}:checkout:1`, apiVersion: '2026-10-28.endive' },
    ])
    expect(requestsOf(ref.purchaseId)[0]?.params).toEqual({
      mode: 'payment',
      line_items: {
        0: {
          price_data: {
            currency: 'eur',
            unit_amount: '1000',
            product_data: { name: PARAMS.description, metadata },
          },
          quantity: '10',
        },
      },
      client_reference_id: ref.purchaseId,
      metadata,
      payment_intent_data: { metadata },
      adaptive_pricing: { enabled: 'false' },
      allow_promotion_codes: 'false',
      // Stripe replaces the placeholder only if it is spelled exactly like this.
      success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
      cancel_url: 'https://shop.example/cart',
    })
  })

  it('sends the conference’s optional settings', async () => {
    const ref = scene.newRef()
    const expiresAt = Math.floor(Date.now() / 1000) + 3_600
    await scene.open(ref, {
      invoiceCreation: true,
      taxIdCollection: true,
      contactEmail: 'team@acme.example',
      expiresAt,
    })
    expect(requestsOf(ref.purchaseId)[0]?.params).toMatchObject({
      invoice_creation: { enabled: 'true' },
      tax_id_collection: { enabled: 'true' },
      customer_email: 'team@acme.example',
      expires_at: String(expiresAt),
    })
  })

  it('sends no sponsor id for a purchase without a sponsor (D10)', async () => {
    const ref = scene.newRef()
    await scene.open(ref, { sponsorId: null })
    const [request] = requestsOf(ref.purchaseId)
    expect(request?.params['metadata']).not.toHaveProperty('sponsor_id')
    expect(JSON.stringify(request?.params)).not.toContain('null')
  })

  it.each([
    ['JPY', 500, '500'],
    ['KWD', 1_500, '1500'],
    ['ISK', 500, '50000'], // no decimals, but Stripe uses two
  ])('sends %s in Stripe’s minor units (D34)', async (currency, unitAmount, sent) => {
    const ref = scene.newRef()
    const session = await scene.open(ref, { currency, unitAmount, quantity: 2 })
    expect(requestsOf(ref.purchaseId)[0]?.params).toMatchObject({
      line_items: { 0: { price_data: { unit_amount: sent } } },
    })
    scene.fake.control.pay(session)
    const { payments } = await scene.facts(ref, session)
    expect(payments).toMatchObject([{ currency, received: unitAmount * 2, amount: unitAmount * 2 }])
  })

  it('returns the same session for a repeated request', async () => {
    const ref = scene.newRef()
    const first = await scene.ask(ref, 1, PARAMS)
    expect(await scene.ask(ref, 1, PARAMS)).toEqual(first)
    expect(await scene.ask(ref, 2, PARAMS)).not.toEqual(first)
  })

  it('says of a replayed answer what became of the session since then', async () => {
    const ref = scene.newRef()
    const session = await scene.open(ref)
    expect(await scene.ask(ref, 1, PARAMS)).toMatchObject({ status: 'open' })
    scene.fake.control.expire(session)
    expect(await scene.ask(ref, 1, PARAMS)).toMatchObject({
      kind: 'made',
      status: 'expired',
      session: { sessionId: session, url: null },
    })
  })

  it('reports an error that Stripe stored under the key, so that the next attempt uses another', async () => {
    const ref = scene.newRef()
    scene.fake.control.injectFault({ path: SESSIONS, action: { kind: 'error', status: 500 } })
    // The first error has an unknown outcome; only a retry shows that Stripe stored it.
    await expect(scene.ask(ref, 1, PARAMS)).rejects.toMatchObject({
      code: 'stripe_failed',
      status: 502,
      retryAfterSeconds: 2,
    })
    expect(await scene.ask(ref, 1, PARAMS)).toMatchObject({
      kind: 'refused',
      storedError: true,
    })
    expect(requestsOf(ref.purchaseId).map(({ replayed }) => replayed)).toContain(true)
    expect(await scene.ask(ref, 2, PARAMS)).toMatchObject({ kind: 'made' })
  })

  it('finds the session that was made under the key when Stripe refuses other parameters', async () => {
    const ref = scene.newRef()
    const sessionId = await scene.open(ref)
    // A new session beside it would be a second one that can be paid.
    const changed = { ...PARAMS, description: 'something else' }
    expect(await scene.ask(ref, 1, changed)).toMatchObject({ kind: 'made', session: { sessionId } })
  })

  it('returns Stripe’s reason for a refusal', async () => {
    // Saved an hour ago, so it is now sooner than the 30 minutes that Stripe requires.
    const expiresAt = Math.floor(Date.now() / 1000) + 29 * 60
    const result = await scene.ask(scene.newRef(), 1, { ...PARAMS, expiresAt })
    expect(result).toMatchObject({
      kind: 'refused',
      storedError: false,
      message: expect.stringContaining('30 minutes'),
    })
  })

  it('finds a session whose response was lost when the request is repeated', async () => {
    const ref = scene.newRef()
    scene.fake.control.injectFault({
      path: SESSIONS,
      times: 'always',
      action: { kind: 'fail_after', how: 'cut' },
    })
    await expect(scene.ask(ref, 1, PARAMS)).rejects.toMatchObject({
      code: 'stripe_unavailable',
      status: 503,
      retryAfterSeconds: 5,
    })
    scene.fake.control.clearFaults()
    await scene.open(ref)
    const sessions = scene.fake.control.list(scene.key, 'checkout.session')
    expect(sessions.filter((s) => JSON.stringify(s).includes(ref.purchaseId))).toHaveLength(1)
  })
})

describe('closing a Checkout session', () => {
  it('expires an open session', async () => {
    const session = await scene.open(scene.newRef())
    expect(await scene.gateway.closeCheckout('conf', session)).toEqual({ status: 'expired' })
    expect(() => scene.fake.control.pay(session)).toThrow('expired')
  })

  it('returns the status of a session that has ended', async () => {
    const expired = await scene.open(scene.newRef())
    scene.fake.control.expire(expired)
    const paid = await scene.open(scene.newRef())
    scene.fake.control.pay(paid)
    expect(await scene.gateway.closeCheckout('conf', expired)).toEqual({ status: 'expired' })
    expect(await scene.gateway.closeCheckout('conf', paid)).toMatchObject({ status: 'complete' })
  })

  it('fails for a session that Stripe does not have', async () => {
    await expect(scene.gateway.closeCheckout('conf', 'cs_test_unknown')).rejects.toMatchObject({
      code: 'stripe_refused',
    })
  })
})

const NEW = { askedBefore: false }

async function paid() {
  const ref = scene.newRef()
  const session = await scene.open(ref)
  scene.fake.control.pay(session)
  const [payment] = (await scene.facts(ref, session)).payments
  if (payment === undefined) throw new Error('not paid')
  const order: RefundParams = {
    requestId: 'rr_1',
    paymentIntent: payment.paymentIntent,
    amount: 4_000,
    currency: 'EUR',
    reason: 'requested_by_customer',
  }
  return { ref, session, order, listed: async () => (await scene.facts(ref, session)).refunds }
}

describe('a refund', () => {
  it('is created once, also when the request is repeated', async () => {
    const { ref, order, listed } = await paid()
    const first = await scene.gateway.refund(ref, order, NEW)
    expect(await scene.gateway.refund(ref, order, NEW)).toEqual(first)
    expect(await listed()).toMatchObject([
      { id: first.kind === 'made' && first.refundId, amount: 4_000, status: 'succeeded' },
    ])
    expect(scene.fake.control.requests({ method: 'POST', path: REFUNDS })[0]).toMatchObject({
      idempotencyKey: `bp:${ref.purchaseId}:refund:rr_1`,
      params: {
        amount: '4000',
        reason: 'requested_by_customer',
        metadata: { purchase_id: ref.purchaseId, refund_request: 'rr_1' },
      },
    })
  })

  it('with another request id is another refund, also of the same amount (D27)', async () => {
    const { ref, order, listed } = await paid()
    await scene.gateway.refund(ref, order, NEW)
    await scene.gateway.refund(ref, { ...order, requestId: 'rr_2' }, NEW)
    expect(await listed()).toHaveLength(2)
  })

  it('above the amount left is refused with Stripe’s message', async () => {
    const { ref, order } = await paid()
    expect(await scene.gateway.refund(ref, { ...order, amount: 10_001 }, NEW)).toMatchObject({
      kind: 'refused',
      message: expect.stringMatching(/greater than/i),
    })
  })

  it('is found when Stripe created it but stored an error', async () => {
    const { ref, order, listed } = await paid()
    scene.fake.control.injectFault({
      path: REFUNDS,
      method: 'POST',
      action: { kind: 'fail_after', how: 'status_500' },
    })
    const lost = scene.gateway.refund(ref, order, NEW)
    await expect(lost).rejects.toMatchObject({ code: 'stripe_failed' })
    const result = await scene.gateway.refund(ref, order, NEW)
    expect(result.kind).toBe('made')
    expect(await listed()).toHaveLength(1)
  })

  it('is refused when Stripe stored an error and created none', async () => {
    const { ref, order, listed } = await paid()
    scene.fake.control.injectFault({ path: REFUNDS, method: 'POST', action: { kind: 'error' } })
    const lost = scene.gateway.refund(ref, order, NEW)
    await expect(lost).rejects.toMatchObject({ code: 'stripe_failed' })
    expect(await scene.gateway.refund(ref, order, NEW)).toMatchObject({ kind: 'refused' })
    expect(await listed()).toEqual([])
  })
})

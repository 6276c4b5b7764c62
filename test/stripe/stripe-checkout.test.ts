import { afterEach, describe, expect, it } from 'vitest'
import { PARAMS, useStripeScene } from './stripe-scene.ts'

const scene = useStripeScene()
const CREATE = '/v1/checkout/sessions'

afterEach(() => scene.fake.control.clearFaults())

const requestsOf = (purchase: string) =>
  scene.fake.control
    .requests({ method: 'POST', path: CREATE })
    .filter(({ params }) => params['client_reference_id'] === purchase)

describe('opening a checkout', () => {
  it('sends exactly what was frozen, our ids in every place, and nothing a payer could change', async () => {
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
      // Stripe fills the placeholder in only when it arrives as it is written here.
      success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
      cancel_url: 'https://shop.example/cart',
    })
  })

  it('sends what the conference asks for besides', async () => {
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

  it('names no sponsor where there is none, not even as a word (D10)', async () => {
    const ref = scene.newRef()
    await scene.open(ref, { sponsorId: null })
    const [request] = requestsOf(ref.purchaseId)
    expect(request?.params['metadata']).not.toHaveProperty('sponsor_id')
    expect(JSON.stringify(request?.params)).not.toContain('null')
  })

  it.each([
    ['JPY', 500, '500'],
    ['KWD', 1_500, '1500'],
    ['ISK', 500, '50000'], // no decimals, but two at Stripe
  ])('sends %s in the unit that Stripe counts in (D34)', async (currency, unitAmount, sent) => {
    const ref = scene.newRef()
    const session = await scene.open(ref, { currency, unitAmount, quantity: 2 })
    expect(requestsOf(ref.purchaseId)[0]?.params).toMatchObject({
      line_items: { 0: { price_data: { unit_amount: sent } } },
    })
    scene.fake.control.pay(session)
    const { payments } = await scene.facts(ref, session)
    expect(payments).toMatchObject([{ currency, received: unitAmount * 2, amount: unitAmount * 2 }])
  })

  it('answers a repeat with the same session', async () => {
    const ref = scene.newRef()
    const first = await scene.gateway.openCheckout(ref, 1, PARAMS)
    expect(await scene.gateway.openCheckout(ref, 1, PARAMS)).toEqual(first)
    expect(await scene.gateway.openCheckout(ref, 2, PARAMS)).not.toEqual(first)
  })

  it('tells that Stripe keeps an error under the key, so that the next attempt gets another', async () => {
    const ref = scene.newRef()
    scene.fake.control.injectFault({ path: CREATE, action: { kind: 'error', status: 500 } })
    // Once it is an accident of unknown outcome; that it is kept shows when we ask again.
    await expect(scene.gateway.openCheckout(ref, 1, PARAMS)).rejects.toMatchObject({
      code: 'stripe_failed',
      status: 502,
      retryAfterSeconds: 2,
    })
    expect(await scene.gateway.openCheckout(ref, 1, PARAMS)).toMatchObject({
      kind: 'refused',
      storedError: true,
    })
    expect(requestsOf(ref.purchaseId).map(({ replayed }) => replayed)).toContain(true)
    expect(await scene.gateway.openCheckout(ref, 2, PARAMS)).toMatchObject({ kind: 'opened' })
  })

  it('takes a key that was used with other parameters for a spent one', async () => {
    const ref = scene.newRef()
    await scene.open(ref)
    const changed = { ...PARAMS, description: 'something else' }
    expect(await scene.gateway.openCheckout(ref, 1, changed)).toMatchObject({
      kind: 'refused',
      storedError: true,
      message: expect.stringContaining('same parameters'),
    })
  })

  it('passes on why Stripe refuses', async () => {
    // Frozen an hour ago, and now closer than the half hour that Stripe demands.
    const expiresAt = Math.floor(Date.now() / 1000) + 29 * 60
    const result = await scene.gateway.openCheckout(scene.newRef(), 1, { ...PARAMS, expiresAt })
    expect(result).toMatchObject({
      kind: 'refused',
      storedError: false,
      message: expect.stringContaining('30 minutes'),
    })
  })

  it('lets a repeat find the session whose answer was lost', async () => {
    const ref = scene.newRef()
    scene.fake.control.injectFault({
      path: CREATE,
      times: 'always',
      action: { kind: 'fail_after', how: 'cut' },
    })
    await expect(scene.gateway.openCheckout(ref, 1, PARAMS)).rejects.toMatchObject({
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

describe('closing a checkout', () => {
  it('makes an open session unpayable', async () => {
    const session = await scene.open(scene.newRef())
    expect(await scene.gateway.closeCheckout('conf', session)).toBe('expired')
    expect(() => scene.fake.control.pay(session)).toThrow('expired')
  })

  it('tells of a session that ended before', async () => {
    const expired = await scene.open(scene.newRef())
    scene.fake.control.expire(expired)
    const paid = await scene.open(scene.newRef())
    scene.fake.control.pay(paid)
    expect(await scene.gateway.closeCheckout('conf', expired)).toBe('expired')
    expect(await scene.gateway.closeCheckout('conf', paid)).toBe('complete')
  })

  it('does not claim anything about a session that Stripe does not know', async () => {
    await expect(scene.gateway.closeCheckout('conf', 'cs_test_unknown')).rejects.toMatchObject({
      code: 'stripe_refused',
    })
  })
})

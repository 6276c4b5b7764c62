import { expect, it } from 'vitest'
import { idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

it('replays the first response for the same key and parameters', async () => {
  const { stripe, control } = await startFake()
  const first = await stripe.checkout.sessions.create(sessionParams(), { idempotencyKey: 'a' })
  const again = await stripe.checkout.sessions.create(sessionParams(), { idempotencyKey: 'a' })
  expect(again.id).toBe(first.id)
  expect(again.lastResponse.headers).toMatchObject({
    'idempotent-replayed': 'true',
    'original-request': first.lastResponse.requestId,
  })
  expect(first.lastResponse.headers).not.toHaveProperty('idempotent-replayed')
  expect((await stripe.checkout.sessions.list()).data).toHaveLength(1)
  expect(control.requests({ idempotencyKey: 'a' }).map(({ replayed }) => replayed)).toEqual([
    false,
    true,
  ])
})

it('replays the stored response, not the current object', async () => {
  const { stripe, control } = await startFake()
  const first = await stripe.checkout.sessions.create(sessionParams(), { idempotencyKey: 'a' })
  control.pay(first.id)
  const again = await stripe.checkout.sessions.create(sessionParams(), { idempotencyKey: 'a' })
  expect(again.status).toBe('open')
})

it('refuses a key that was used with other parameters or another endpoint', async () => {
  const { stripe } = await startFake()
  await stripe.customers.create({ name: 'A' }, { idempotencyKey: 'a' })
  const params = await refusal(stripe.customers.create({ name: 'B' }, { idempotencyKey: 'a' }))
  expect(params).toMatchObject({ statusCode: 400, type: 'StripeIdempotencyError' })
  expect(params.message).toMatch(/can only be used with the same parameters/)
  const endpoint = await refusal(
    stripe.paymentIntents.create({ amount: 100, currency: 'eur' }, { idempotencyKey: 'a' }),
  )
  expect(endpoint.message).toContain("('/v1/payment_intents' vs '/v1/customers')")
})

it('ignores the order of the parameters', async () => {
  const { stripe } = await startFake()
  const options = { idempotencyKey: 'a' }
  const first = await stripe.customers.create({ name: 'A', email: 'a@example.com' }, options)
  const again = await stripe.customers.create({ email: 'a@example.com', name: 'A' }, options)
  expect(again.id).toBe(first.id)
})

it('stores keys per account and for 24 hours', async () => {
  const { stripe, control, withKey } = await startFake()
  const first = await stripe.customers.create({}, { idempotencyKey: 'a' })
  const other = await withKey('sk_test_other').customers.create({}, { idempotencyKey: 'a' })
  expect(other.id).not.toBe(first.id)
  control.clock.advance(24 * 60 * 60)
  const later = await stripe.customers.create({}, { idempotencyKey: 'a' })
  expect(later.id).not.toBe(first.id)
})

it('does not store the refusal of an invalid parameter', async () => {
  const { stripe } = await startFake()
  const options = { idempotencyKey: 'a' }
  const tooSmall = sessionParams({
    line_items: [
      { quantity: 1, price_data: { currency: 'eur', unit_amount: 1, product_data: { name: 'x' } } },
    ],
  })
  await refusal(stripe.checkout.sessions.create(tooSmall, options))
  const session = await stripe.checkout.sessions.create(sessionParams(), options)
  expect(session.status).toBe('open')
})

it('stores the refusal of a request whose execution had started', async () => {
  const { stripe, control } = await startFake()
  const session = control.pay((await stripe.checkout.sessions.create(sessionParams())).id)
  const intent = idOf(session.payment_intent)
  control.refund(intent)
  const options = { idempotencyKey: 'refund' }
  const first = await refusal(stripe.refunds.create({ payment_intent: intent }, options))
  const again = await refusal(stripe.refunds.create({ payment_intent: intent }, options))
  expect([first.code, again.code]).toEqual(['charge_already_refunded', 'charge_already_refunded'])
  expect(again.headers?.['idempotent-replayed']).toBe('true')
})

it('stores a decline: the same key never charges the card again', async () => {
  const { stripe } = await startFake()
  const params = {
    amount: 1000,
    currency: 'eur',
    payment_method: 'pm_card_chargeDeclined',
    confirm: true,
  }
  await refusal(stripe.paymentIntents.create(params, { idempotencyKey: 'a' }))
  await refusal(stripe.paymentIntents.create(params, { idempotencyKey: 'a' }))
  expect((await stripe.charges.list()).data).toHaveLength(1)
})

it('stores a 500 under the key, so that only another key succeeds', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({ path: '/v1/customers', action: { kind: 'error' } })
  const options = { idempotencyKey: 'a' }
  const first = await refusal(stripe.customers.create({}, options))
  const again = await refusal(stripe.customers.create({}, options))
  expect([first.statusCode, again.statusCode]).toEqual([500, 500])
  expect(again.headers).toMatchObject({
    'idempotent-replayed': 'true',
    'stripe-should-retry': 'false',
  })
  expect((await stripe.customers.list()).data).toEqual([])
  await stripe.customers.create({}, { idempotencyKey: 'b' })
})

it('answers 409 while the first request with the key is still running', async () => {
  const { stripe, control } = await startFake()
  control.injectFault({ path: '/v1/customers', action: { kind: 'slow', ms: 60_000 } })
  const first = stripe.customers.create({}, { idempotencyKey: 'a' })
  first.catch(() => {}) // cut when the fake closes
  await expect.poll(() => control.requests()).toHaveLength(1)
  const second = await refusal(stripe.customers.create({}, { idempotencyKey: 'a' }))
  expect(second).toMatchObject({ statusCode: 409, code: 'idempotency_key_in_use' })
})

it('accepts keys of 255 characters and refuses longer ones', async () => {
  const { stripe } = await startFake()
  await stripe.customers.create({}, { idempotencyKey: 'k'.repeat(255) })
  const error = await refusal(stripe.customers.create({}, { idempotencyKey: 'k'.repeat(256) }))
  expect(error.statusCode).toBe(400)
})

it('shows the key in the events that the request caused', async () => {
  const { stripe, control, account } = await startFake()
  const { lastResponse } = await stripe.customers.create({}, { idempotencyKey: 'a' })
  const [event] = control.events({ account, type: 'customer.created' })
  expect(event?.request).toEqual({ id: lastResponse.requestId, idempotency_key: 'a' })
})

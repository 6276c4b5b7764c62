import { expect, it } from 'vitest'
import { idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

it('performs a call without HTTP, log entry and faults', async () => {
  const { control, account, stripe } = await startFake()
  control.injectFault({ times: 'always', action: { kind: 'error' } })
  const session = control.call(account, 'POST', '/v1/checkout/sessions', sessionParams())
  expect(session).toMatchObject({ object: 'checkout.session', amount_total: 100_000 })
  expect(control.requests()).toEqual([])
  control.clearFaults()
  expect((await stripe.checkout.sessions.list()).data).toMatchObject([session])
  expect(() => control.call(account, 'POST', '/v1/refunds', {})).toThrow(/One of the following/)
  expect(() => control.call(account, 'GET', '/v1/nothing')).toThrow(/does not implement GET/)
})

it('stores objects as they are, and replaces them with an event', async () => {
  const { control, account, stripe } = await startFake()
  const customer = await stripe.customers.create({ name: 'A' })
  const { lastResponse: _, ...object } = customer
  control.put(account, { ...object, name: 'B' }, 'customer.updated')
  expect(await stripe.customers.retrieve(customer.id)).toMatchObject({ name: 'B' })
  const [event] = control.events({ account, type: 'customer.updated' })
  expect(event?.data.previous_attributes).toEqual({ name: 'A' })
  control.put(account, { id: 'prod_1', object: 'product' })
  expect(control.get('prod_1')).toEqual({ id: 'prod_1', object: 'product' })
  expect(control.list(account, 'product')).toHaveLength(1)
})

it('sells at a stored price', async () => {
  const { control, account, stripe } = await startFake()
  control.put(account, {
    id: 'price_1',
    object: 'price',
    currency: 'eur',
    unit_amount: 700,
    unit_amount_decimal: '700',
    nickname: 'Early',
  })
  const session = await stripe.checkout.sessions.create(
    sessionParams({ line_items: [{ price: 'price_1', quantity: 2 }] }),
  )
  expect(session.amount_total).toBe(1400)
})

it('reads an object of any kind by its id', async () => {
  const { control, stripe } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const paid = control.pay(id)
  expect(control.get(idOf(paid.payment_intent))).toMatchObject({ object: 'payment_intent' })
  expect(() => control.get('pi_none')).toThrow(/There is no object pi_none/)
})

it('updates a charge by the API', async () => {
  const { control, stripe, account } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pay(id)
  const [charge] = (await stripe.charges.list()).data
  const updated = await stripe.charges.update(charge?.id ?? '', {
    description: 'New',
    metadata: { note: 'x' },
  })
  expect(updated).toMatchObject({ description: 'New', metadata: { purchase: 'bp_1', note: 'x' } })
  expect(control.events({ account, type: 'charge.updated' })).toHaveLength(1)
  expect(await refusal(stripe.charges.retrieve('ch_none'))).toMatchObject({
    statusCode: 404,
    code: 'resource_missing',
  })
})

it('stores a hundred thousand objects in any order, and lists them newest first', async () => {
  const { control, account, stripe } = await startFake()
  const objects = Array.from({ length: 100_000 }, (_, i) => ({
    id: `cus_${i}`,
    object: 'customer',
    created: 1_000_000 - i,
  }))
  control.put(account, objects)
  const first = await stripe.customers.list({ limit: 2 })
  expect(first.data.map(({ id }) => id)).toEqual(['cus_0', 'cus_1'])
  const last = await stripe.customers.list({ limit: 2, starting_after: 'cus_99997' })
  expect(last.data.map(({ id }) => id)).toEqual(['cus_99998', 'cus_99999'])
  expect(last.has_more).toBe(false)
})

it('seeds objects in bulk, spread over a span of time and without events', async () => {
  const { stripe, control, account } = await startFake()
  const seeded = control.seedCustomers(account, 1001, { from: 1000, to: 3000 })
  const all = await stripe.customers.list({ limit: 100 }).autoPagingToArray({ limit: 10_000 })
  expect(all.map(({ id }) => id)).toEqual(seeded.toReversed())
  expect([all.at(-1)?.created, all[500]?.created, all[0]?.created]).toEqual([1000, 2000, 3000])
  const window = await stripe.customers.list({ created: { gte: 2998 } })
  expect(window.data.map(({ created }) => created)).toEqual([3000, 2998])
  expect(control.events({ account })).toEqual([])
})

it('seeds coupons and products that behave as if they had been created', async () => {
  const { stripe, control, account } = await startFake()
  const [coupon = ''] = control.seedCoupons(account, 3)
  const [product = ''] = control.seedProducts(account, 3)
  expect(await stripe.coupons.update(coupon, { name: 'Renamed' })).toMatchObject({
    name: 'Renamed',
    percent_off: 1,
    valid: true,
  })
  await stripe.prices.create({ product, currency: 'eur', unit_amount: 5 })
  const monthAgo = Math.floor(control.clock.now().getTime() / 1000) - 30 * 24 * 60 * 60
  expect((await stripe.coupons.retrieve(coupon)).created).toBeLessThanOrEqual(monthAgo + 1)
  expect((await stripe.products.list()).data).toHaveLength(3)
})

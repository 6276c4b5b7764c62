import { expect, it } from 'vitest'
import { startFake } from './fake-under-test.ts'

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

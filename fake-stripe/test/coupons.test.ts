import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { refusal, startFake } from './fake-under-test.ts'

const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id)

it('creates a coupon with a percentage and one with an amount', async () => {
  const { stripe, control, account } = await startFake()
  const percent = await stripe.coupons.create({ percent_off: 12.5 })
  expect(percent).toMatchObject({
    id: expect.stringMatching(/^[A-Za-z0-9]{8}$/),
    percent_off: 12.5,
    amount_off: null,
    currency: null,
    duration: 'once',
    times_redeemed: 0,
    valid: true,
  })
  const amount = await stripe.coupons.create({
    id: 'SPONSOR',
    amount_off: 500,
    currency: 'EUR',
    duration: 'repeating',
    duration_in_months: 3,
    max_redemptions: 10,
    name: 'x'.repeat(40),
    metadata: { level: 'gold' },
  })
  expect(amount).toMatchObject({ id: 'SPONSOR', currency: 'eur', duration_in_months: 3 })
  expect(await stripe.coupons.retrieve('SPONSOR')).toMatchObject({ metadata: { level: 'gold' } })
  expect(control.events({ account, type: 'coupon.created' })).toHaveLength(2)
})

it.each<[string, Stripe.CouponCreateParams, object]>([
  ['no discount', {}, { code: 'parameter_missing', message: /Must provide percent_off/ }],
  [
    'two discounts',
    { percent_off: 5, amount_off: 5, currency: 'eur' },
    { message: /pass in only one/ },
  ],
  ['nothing off', { percent_off: 0 }, { param: 'percent_off', message: /currently is '0\.0'/ }],
  ['more than all off', { percent_off: 100.5 }, { param: 'percent_off' }],
  ['an amount of nothing', { amount_off: 0, currency: 'eur' }, { param: 'amount_off' }],
  ['an amount without currency', { amount_off: 5 }, { param: 'currency' }],
  ['a repetition without end', { percent_off: 5, duration: 'repeating' }, { param: 'duration' }],
  [
    'months without repetition',
    { percent_off: 5, duration: 'once', duration_in_months: 2 },
    { param: 'duration_in_months' },
  ],
  ['an end in the past', { percent_off: 5, redeem_by: 1000 }, { param: 'redeem_by' }],
  ['an end in the far future', { percent_off: 5, redeem_by: 4102444800 }, { param: 'redeem_by' }],
  ['no redemptions', { percent_off: 5, max_redemptions: 0 }, { param: 'max_redemptions' }],
  ['a long name', { percent_off: 5, name: 'x'.repeat(41) }, { param: 'name' }],
  [
    'currencies of a percentage',
    { percent_off: 5, currency_options: { eur: { amount_off: 5 } } },
    { param: 'currency_options' },
  ],
  [
    'a currency in capitals',
    { amount_off: 5, currency: 'eur', currency_options: { USD: { amount_off: 5 } } },
    { param: 'currency_options[USD]', message: /Use `usd` instead of `USD`/ },
  ],
  [
    'an unknown product',
    { percent_off: 5, applies_to: { products: ['prod_none'] } },
    { code: 'resource_missing', param: 'applies_to[products][0]' },
  ],
])('refuses a coupon with %s', async (_what, params, wanted) => {
  const { stripe } = await startFake()
  const error = await refusal(stripe.coupons.create(params))
  const { message, ...details }: { message?: RegExp } = wanted
  expect(error).toMatchObject({ statusCode: 400, ...details })
  expect(error.message).toMatch(message ?? /./)
  expect((await stripe.coupons.list()).data).toEqual([])
})

it('changes name, metadata and currencies of a coupon, and nothing else', async () => {
  const { stripe, control, account } = await startFake()
  await stripe.coupons.create({ id: 'A', amount_off: 500, currency: 'eur', metadata: { a: '1' } })
  const updated = await stripe.coupons.update('A', {
    name: 'Sponsor',
    metadata: { a: '', b: '2' },
    currency_options: { usd: { amount_off: 600 } },
    expand: ['currency_options'],
  })
  expect(updated).toMatchObject({ name: 'Sponsor', metadata: { b: '2' } })
  expect(updated.currency_options).toEqual({ eur: { amount_off: 500 }, usd: { amount_off: 600 } })
  const [event] = control.events({ account, type: 'coupon.updated' })
  expect(event?.data.previous_attributes).toEqual({ name: null, metadata: { a: '1', b: null } })
  const fixed = stripe.coupons.update('A', { percent_off: 5 } as Stripe.CouponUpdateParams)
  expect((await refusal(fixed)).code).toBe('parameter_unknown')
  await stripe.coupons.create({ id: 'B', percent_off: 5 })
  const ofPercentage = stripe.coupons.update('B', { currency_options: { usd: { amount_off: 6 } } })
  expect((await refusal(ofPercentage)).param).toBe('currency_options')
})

it('shows products and currencies of a coupon only when they are expanded', async () => {
  const { stripe } = await startFake()
  const { id: product } = await stripe.products.create({ name: 'Ticket' })
  const made = await stripe.coupons.create({
    id: 'A',
    percent_off: 5,
    applies_to: { products: [product] },
  })
  expect(made).not.toHaveProperty('applies_to')
  expect(made).not.toHaveProperty('currency_options')
  const { applies_to: applies } = await stripe.coupons.retrieve('A', { expand: ['applies_to'] })
  expect(applies).toEqual({ products: [product] })
  const list = await stripe.coupons.list({ expand: ['data.applies_to'] })
  expect(list.data[0]?.applies_to).toEqual({ products: [product] })
})

it('creates a coupon again with the id of a deleted one', async () => {
  const { stripe, control, account } = await startFake()
  await stripe.coupons.create({ id: 'A', percent_off: 5, name: 'First' })
  expect(await refusal(stripe.coupons.create({ id: 'A', percent_off: 5 }))).toMatchObject({
    code: 'resource_already_exists',
    message: 'Coupon already exists.',
  })
  expect(await stripe.coupons.del('A')).toMatchObject({ id: 'A', object: 'coupon', deleted: true })
  const [deleted] = control.events({ account, type: 'coupon.deleted' })
  expect(deleted?.data.object).toMatchObject({ id: 'A', name: 'First', valid: false })
  expect(await refusal(stripe.coupons.retrieve('A'))).toMatchObject({
    statusCode: 404,
    code: 'resource_missing',
    param: 'coupon',
  })
  expect(await refusal(stripe.coupons.del('A'))).toMatchObject({ statusCode: 404 })
  await stripe.coupons.create({ id: 'A', percent_off: 7 })
  expect(await stripe.coupons.retrieve('A')).toMatchObject({ percent_off: 7, name: null })
})

it('ends a coupon at its date, but not a newer coupon with the same id', async () => {
  const { stripe, control } = await startFake()
  const soon = Math.floor(control.clock.now().getTime() / 1000) + 100
  await stripe.coupons.create({ id: 'A', percent_off: 5, redeem_by: soon })
  await stripe.coupons.create({ id: 'B', percent_off: 5, redeem_by: soon })
  await stripe.coupons.del('B')
  await stripe.coupons.create({ id: 'B', percent_off: 5 })
  control.clock.advance(101)
  expect((await stripe.coupons.retrieve('A')).valid).toBe(false)
  expect((await stripe.coupons.retrieve('B')).valid).toBe(true)
})

it('lists coupons by their creation', async () => {
  const { stripe, control } = await startFake()
  const first = await stripe.coupons.create({ id: 'A', percent_off: 5 })
  control.clock.advance(10)
  await stripe.coupons.create({ id: 'B', percent_off: 5 })
  expect(ids(await stripe.coupons.list())).toEqual(['B', 'A'])
  expect(ids(await stripe.coupons.list({ created: { gt: first.created } }))).toEqual(['B'])
  expect(ids(await stripe.coupons.list({ limit: 1, starting_after: 'B' }))).toEqual(['A'])
})

import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { refusal, startFake } from './fake-under-test.ts'

const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id)

/** A fake with a coupon `A`, and a function that creates codes for it. */
async function startWithCoupon(coupon: Stripe.CouponCreateParams = {}) {
  const test = await startFake()
  await test.stripe.coupons.create({ id: 'A', percent_off: 10, ...coupon })
  const make = (params: Partial<Stripe.PromotionCodeCreateParams> = {}) =>
    test.stripe.promotionCodes.create({ promotion: { type: 'coupon', coupon: 'A' }, ...params })
  const now = () => Math.floor(test.control.clock.now().getTime() / 1000)
  return { ...test, make, now }
}

it('creates a code, a random or a given one', async () => {
  const { stripe, make, control, account } = await startWithCoupon()
  const own = await make()
  expect(own).toMatchObject({
    code: expect.stringMatching(/^[A-Z0-9]{8}$/),
    active: true,
    customer: null,
    promotion: { type: 'coupon', coupon: 'A' },
    restrictions: { first_time_transaction: false, minimum_amount: null },
    times_redeemed: 0,
  })
  const { id: customer } = await stripe.customers.create({})
  const given = await make({
    code: 'Gold-2027',
    customer,
    max_redemptions: 3,
    metadata: { level: 'gold' },
    restrictions: { minimum_amount: 1000, minimum_amount_currency: 'eur' },
  })
  expect(await stripe.promotionCodes.retrieve(given.id)).toMatchObject({
    code: 'Gold-2027',
    customer,
    max_redemptions: 3,
    restrictions: { minimum_amount: 1000, minimum_amount_currency: 'eur' },
  })
  expect(control.events({ account, type: 'promotion_code.created' })).toHaveLength(2)
})

it('refuses codes that Stripe refuses', async () => {
  const { stripe, make, now } = await startWithCoupon({ max_redemptions: 5 })
  const create = async (params: object) => await refusal(make(params))
  expect((await create({ promotion: { type: 'coupon' } })).param).toBe('promotion.coupon')
  expect(await create({ promotion: { type: 'coupon', coupon: 'B' } })).toMatchObject({
    code: 'resource_missing',
    param: 'promotion[coupon]',
  })
  expect((await create({ coupon: 'A' })).code).toBe('parameter_unknown')
  expect((await create({ code: 'with space' })).param).toBe('code')
  expect((await create({ customer: 'cus_none' })).param).toBe('customer')
  expect((await create({ expires_at: 1000 })).param).toBe('expires_at')
  expect((await create({ max_redemptions: 6 })).param).toBe('max_redemptions')
  expect((await create({ restrictions: { minimum_amount: 5 } })).param).toBe(
    'restrictions[minimum_amount_currency]',
  )
  await stripe.coupons.create({ id: 'B', percent_off: 5, redeem_by: now() + 100 })
  const late = { promotion: { type: 'coupon', coupon: 'B' }, expires_at: now() + 200 }
  expect((await create(late)).param).toBe('expires_at')
  expect((await stripe.promotionCodes.list()).data).toEqual([])
  expect(await refusal(stripe.promotionCodes.retrieve('promo_none'))).toMatchObject({
    statusCode: 404,
    message: "No such promotion code: 'promo_none'",
  })
})

it('allows only one active code with the same text for a customer, ignoring case', async () => {
  const { stripe, make } = await startWithCoupon()
  const first = await make({ code: 'FALL20' })
  expect((await refusal(make({ code: 'fall20' }))).message).toBe(
    'An active promotion code with `code: fall20` already exists.',
  )
  await stripe.promotionCodes.update(first.id, { active: false })
  await make({ code: 'fall20' })
  const again = await refusal(stripe.promotionCodes.update(first.id, { active: true }))
  expect(again.message).toMatch(/already exists/)
  const [a, b] = [await stripe.customers.create({}), await stripe.customers.create({})]
  await make({ code: 'OWN', customer: a.id })
  await make({ code: 'OWN', customer: b.id })
  expect((await refusal(make({ code: 'own' }))).message).toMatch(/already exists/)
})

it('changes whether a code is active, its metadata and its minimum in other currencies', async () => {
  const { stripe, make, control, account } = await startWithCoupon()
  const { id } = await make({
    restrictions: {
      minimum_amount: 1000,
      minimum_amount_currency: 'eur',
      currency_options: { usd: { minimum_amount: 1100 } },
    },
  })
  const updated = await stripe.promotionCodes.update(id, {
    active: false,
    metadata: { a: '1' },
    restrictions: { currency_options: { gbp: { minimum_amount: 900 } } },
    expand: ['restrictions.currency_options', 'promotion.coupon'],
  })
  expect(updated).toMatchObject({
    active: false,
    metadata: { a: '1' },
    promotion: { coupon: { id: 'A', percent_off: 10 } },
  })
  expect(updated.restrictions.currency_options).toEqual({
    eur: { minimum_amount: 1000 },
    usd: { minimum_amount: 1100 },
    gbp: { minimum_amount: 900 },
  })
  expect((await stripe.promotionCodes.retrieve(id)).restrictions).not.toHaveProperty(
    'currency_options',
  )
  const [event] = control.events({ account, type: 'promotion_code.updated' })
  expect(event?.data.previous_attributes).toEqual({ active: true, metadata: { a: null } })
  const own = { restrictions: { currency_options: { eur: { minimum_amount: 1 } } } }
  expect((await refusal(stripe.promotionCodes.update(id, own))).param).toBe(
    'restrictions[currency_options][eur]',
  )
})

it('deactivates the codes of a deleted coupon', async () => {
  const { stripe, make, control, account } = await startWithCoupon()
  const { id } = await make()
  await make({ active: false })
  await stripe.coupons.del('A')
  expect(await stripe.promotionCodes.retrieve(id)).toMatchObject({
    active: false,
    promotion: { coupon: 'A' },
  })
  const ended = control.events({ account, type: 'promotion_code.updated' })
  expect(ended.map(({ data }) => data.object)).toMatchObject([{ id, active: false }])
  const again = await refusal(stripe.promotionCodes.update(id, { active: true }))
  expect(again.message).toMatch(/coupon is no longer valid/)
})

it('deactivates codes at their own date and at that of their coupon', async () => {
  const { stripe, make, control, now } = await startWithCoupon()
  await stripe.coupons.create({ id: 'B', percent_off: 5, redeem_by: now() + 200 })
  const own = await make({ expires_at: now() + 100 })
  const ofCoupon = await make({ promotion: { type: 'coupon', coupon: 'B' } })
  const isActive = async ({ id }: { id: string }) =>
    (await stripe.promotionCodes.retrieve(id)).active
  control.clock.advance(150)
  expect([await isActive(own), await isActive(ofCoupon)]).toEqual([false, true])
  expect((await refusal(stripe.promotionCodes.update(own.id, { active: true }))).message).toMatch(
    /has expired/,
  )
  control.clock.advance(60)
  expect(await isActive(ofCoupon)).toBe(false)
})

it('filters codes', async () => {
  const { stripe, make } = await startWithCoupon()
  await stripe.coupons.create({ id: 'B', percent_off: 5 })
  const { id: customer } = await stripe.customers.create({})
  const a = await make({ code: 'Aaa' })
  const b = await make({ promotion: { type: 'coupon', coupon: 'B' }, customer, active: false })
  const list = async (params: object) => ids(await stripe.promotionCodes.list(params))
  expect(await list({})).toEqual([b.id, a.id])
  expect(await list({ active: true })).toEqual([a.id])
  expect(await list({ code: 'aAA' })).toEqual([a.id])
  expect(await list({ coupon: 'B' })).toEqual([b.id])
  expect(await list({ customer })).toEqual([b.id])
  expect(await list({ created: { lt: a.created } })).toEqual([])
  expect((await refusal(stripe.promotionCodes.list({ coupon: 'C' }))).message).toBe(
    "No such coupon: 'C'",
  )
})

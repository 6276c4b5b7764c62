import { afterEach, describe, expect, it } from 'vitest'
import { createConference, unique } from '../../support/fixtures.ts'
import type { Body, RequestOptions } from '../../support/test-app.ts'
import { useCouponScene } from './coupon-scene.ts'

const scene = useCouponScene()
afterEach(() => {
  scene.fake.control.clearFaults()
  scene.fake.control.clearRequests()
})

const path = (id = '') => `${scene.shop.path}/stripe/promotion-codes${id && `/${id}`}`
const create = (body: Body, options: RequestOptions = {}) =>
  scene.request('POST', path(), { ...options, body })
const update = (id: string, body: Body) => scene.request('PATCH', path(id), { body })
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
const newCode = () => unique('CODE')

async function coupon(body: Body = { percent_off: 10 }): Promise<string> {
  const made = await scene.create(body)
  return String(made.body['id'])
}

describe('creating a promotion code', () => {
  it('stores it at Stripe and in the mirror', async () => {
    const of = await coupon()
    const code = newCode()
    const customer = await scene.dashboard.customers.create({ name: 'Ada' })
    const { status, body } = await create({
      coupon: of,
      code,
      customer: customer.id,
      expires_at: inDays(10),
      max_redemptions: 5,
      restrictions: {
        first_time_transaction: true,
        minimum_amount: 4_000,
        minimum_amount_currency: 'eur',
      },
      metadata: { list: 'friends' },
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      object: 'promotion_code',
      code,
      active: true,
      coupon: of,
      customer: customer.id,
      max_redemptions: 5,
      first_time_transaction: true,
      minimum_amount: 4_000,
      minimum_amount_currency: 'eur',
      metadata: { list: 'friends' },
    })
    expect((await scene.request('GET', path(String(body['id'])))).body).toEqual(body)
    const atStripe = await scene.dashboard.promotionCodes.retrieve(String(body['id']))
    expect(atStripe).toMatchObject({ code, promotion: { type: 'coupon', coupon: of } })
  })

  it('chooses a code when none is given, and may create it inactive', async () => {
    const { status, body } = await create({ coupon: await coupon(), active: false })
    expect(status).toBe(201)
    expect(body).toMatchObject({ active: false, code: expect.stringMatching(/^[2-9A-Z]{8}$/) })
  })

  it.each<[string, Body, string]>([
    ['a code of strange characters', { code: 'zehn%' }, '/code'],
    ['an end in the past', { expires_at: inDays(-1) }, '/expires_at'],
    ['an end too far away', { expires_at: inDays(5 * 365 + 2) }, '/expires_at'],
    ['an end after the coupon’s end', { expires_at: inDays(40) }, '/expires_at'],
    ['more uses than the coupon has', { max_redemptions: 11 }, '/max_redemptions'],
    ['no uses', { max_redemptions: 0 }, '/max_redemptions'],
    [
      'a minimum without a currency',
      { restrictions: { minimum_amount: 5 } },
      '/restrictions/minimum_amount_currency',
    ],
    [
      'a currency without a minimum',
      { restrictions: { minimum_amount_currency: 'EUR' } },
      '/restrictions/minimum_amount',
    ],
    ['an unknown customer', { customer: 'cus_none' }, '/customer'],
    ['an unknown coupon', { coupon: 'none' }, '/coupon'],
    ['an unknown field', { color: 'red' }, '/color'],
  ])('is refused and creates nothing: %s', async (_rule, body, pointer) => {
    const of = await coupon({ percent_off: 5, max_redemptions: 10, redeem_by: inDays(30) })
    scene.fake.control.clearRequests()
    const answer = await create({ coupon: of, ...body })
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer }] } })
    expect(scene.writes()).toEqual([])
  })

  it('returns Stripe’s reason when an active code has the same text', async () => {
    const of = await coupon()
    const code = newCode()
    await create({ coupon: of, code })
    const again = await create({ coupon: of, code: code.toLowerCase() })
    expect(again).toMatchObject({ status: 409, body: { code: 'stripe_refused' } })
    expect(again.body['detail']).toContain('already exists')
  })

  it("F20: accepts only this conference's coupons and customers", async () => {
    const other = await createConference(scene, { stripe_secret_key: scene.shop.stripeKey })
    const body = { coupon: await coupon() }
    const answer = await scene.request('POST', `${other.path}/stripe/promotion-codes`, { body })
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/coupon' }] } })
  })

  it.each(['a lost response', 'a forgotten key'])(
    'F8: creates one code on a repeat under the same key, after %s',
    async (trouble) => {
      const code = newCode()
      const order = [
        { coupon: await coupon(), code },
        { headers: { 'idempotency-key': unique('key') } },
      ] as const
      const action = { kind: 'fail_after' } as const
      const at = { method: 'POST', path: '/v1/promotion_codes', times: 'always' } as const
      scene.fake.control.injectFault({ ...at, action })
      expect((await create(...order)).status).toBe(503)
      scene.fake.control.clearFaults()
      if (trouble === 'a forgotten key') scene.fake.control.clock.advance(25 * 3_600)
      const { status, body } = await create(...order)
      expect(status).toBe(201)
      expect(body).toMatchObject({ code, active: true })
      const { data } = await scene.dashboard.promotionCodes.list({ code })
      expect(data.map(({ id }) => id)).toEqual([body['id']])
      expect((await create(...order)).body).toEqual(body)
    },
  )
})

describe('changing a promotion code', () => {
  it('changes `active` and the metadata', async () => {
    const made = await create({ coupon: await coupon(), metadata: { a: '1', b: '2' } })
    const id = String(made.body['id'])
    const off = await update(id, { active: false, metadata: { a: null } })
    expect(off).toMatchObject({ status: 200, body: { active: false, metadata: { b: '2' } } })
    expect(off.body['metadata']).not.toHaveProperty('a')
    expect((await scene.dashboard.promotionCodes.retrieve(id)).active).toBe(false)
    expect(await update(id, { active: true })).toMatchObject({
      status: 200,
      body: { active: true },
    })
  })

  it.each(['code', 'coupon', 'customer', 'expires_at', 'max_redemptions', 'restrictions'])(
    'is not its %s, and the answer says why',
    async (field) => {
      const { status, body } = await update('promo_any', { [field]: 'x' })
      expect(status).toBe(400)
      expect(body['errors']).toMatchObject([
        { pointer: `/${field}`, detail: expect.stringContaining('cannot be changed') },
      ])
    },
  )

  it('is refused by Stripe when its coupon was deleted', async () => {
    const of = await coupon()
    const made = await create({ coupon: of })
    await scene.remove(of)
    await scene.settle()
    const id = String(made.body['id'])
    expect((await scene.request('GET', path(id))).body).toMatchObject({ active: false })
    expect(await update(id, { active: true })).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused' },
    })
  })

  it('is 404 for an unknown promotion code', async () => {
    expect(await update('promo_none', { active: false })).toMatchObject({ status: 404 })
  })

  it('works in the dashboard too, without a write of ours', async () => {
    const made = await create({ coupon: await coupon() })
    const id = String(made.body['id'])
    await scene.settle()
    scene.fake.control.clearRequests()
    await scene.dashboard.promotionCodes.update(id, { active: false })
    await scene.settle()
    expect((await scene.request('GET', path(id))).body).toMatchObject({ active: false })
    expect(scene.writes()).toEqual([`POST /v1/promotion_codes/${id}`])
  })
})

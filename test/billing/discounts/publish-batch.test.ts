import { afterEach, describe, expect, it } from 'vitest'
import { refreshPublishedVouchers } from '../../../src/billing/discounts/align-promotion-codes.ts'
import { loadConfig } from '../../../src/config.ts'
import { withSystem } from '../../../src/db/tenant-scope.ts'
import { serviceTimers } from '../../../src/worker.ts'
import { createAddOn, createConference, createStaffKey, unique } from '../../support/fixtures.ts'
import type { Body } from '../../support/test-app.ts'
import { usePublicationScene } from './publication-scene.ts'

const scene = usePublicationScene()
const { activeOf, redeem, refresh, switchCode } = scene
afterEach(() => {
  scene.fake.control.clearFaults()
  scene.fake.control.clearRequests()
})

const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
const creations = () => scene.fake.control.requests({ method: 'POST', path: '/v1/promotion_codes' })

describe('a published batch', () => {
  it.each<[string, Body, Body]>([
    ['a percentage', { voucher_type: 'percentage', discount_value: 12.5 }, { percent_off: 12.5 }],
    ['free entry', { voucher_type: 'comp', discount_value: 0 }, { percent_off: 100 }],
    [
      'a fixed amount',
      { voucher_type: 'fixed_amount', discount_value: 500 },
      { amount_off: 500, currency: 'eur' },
    ],
  ])('gets promotion codes of one coupon: %s', async (_kind, terms, coupon) => {
    const until = inDays(30)
    const batch = await scene.batch({ ...terms, max_uses: 4, valid_until: until })
    const { status, body } = await scene.publish(batch)
    expect(status).toBe(202)
    expect(body).toMatchObject({ state: 'running', total: 3, published: 0, pending: 3 })
    await scene.align(batch)
    const done = await scene.progress(batch)
    expect(done).toMatchObject({ state: 'done', total: 3, published: 3, pending: 0, failed: 0 })
    expect(await scene.dashboard.coupons.retrieve(String(done['coupon']))).toMatchObject({
      ...coupon,
      duration: 'once',
      metadata: { voucher_batch: batch },
    })
    for (const code of await scene.codes(batch)) {
      const found = await scene.atStripe(code)
      expect(found).toHaveLength(1)
      expect(found[0]).toMatchObject({
        code,
        active: true,
        max_redemptions: 4,
        expires_at: Math.floor(new Date(until).getTime() / 1000),
        promotion: { coupon: done['coupon'] },
        metadata: { voucher_batch: batch, conference_id: scene.shop.conference },
      })
    }
  })

  it('cannot be redeemed here from the response on', async () => {
    const batch = await scene.batch()
    const [code = ''] = await scene.codes(batch)
    await scene.publish(batch)
    expect(await redeem(code)).toMatchObject({
      status: 409,
      body: { code: 'published', invalid_reason: 'published' },
    })
    expect(await scene.voucher(code)).toMatchObject({ valid: false, invalid_reason: 'published' })
    const url = `${scene.shop.path}/voucher-batches/${batch}`
    expect((await scene.request('GET', url)).body).toMatchObject({
      published_at: expect.any(String),
    })
  })

  it('counts a concurrent redemption once', async () => {
    const batch = await scene.batch({ count: 1 })
    const [code = ''] = await scene.codes(batch)
    const [redeemed] = await Promise.all([redeem(code), scene.publish(batch)])
    await scene.align(batch)
    const left = await scene.atStripe(code)
    // A use counts either here or at Stripe, never in both.
    expect(left).toHaveLength(redeemed.status === 201 ? 0 : 1)
  })

  it('has codes with their remaining uses; used-up codes get no promotion code', async () => {
    const batch = await scene.batch({ count: 2, max_uses: 3 })
    const [partly = '', wholly = ''] = await scene.codes(batch)
    await redeem(partly)
    for (let n = 0; n < 3; n += 1) await redeem(wholly)
    await scene.published(batch)
    expect(await scene.atStripe(partly)).toMatchObject([{ max_redemptions: 2 }])
    expect(await scene.atStripe(wholly)).toEqual([])
    expect(await scene.progress(batch)).toMatchObject({ state: 'done', total: 1, published: 1 })
  })

  it('adds the uses at Stripe to the uses here, although Stripe sends no event', async () => {
    const batch = await scene.batch({ count: 2, max_uses: 3 })
    const [code = '', other = ''] = await scene.codes(batch)
    await redeem(code)
    await scene.published(batch)
    scene.use(code, 1)
    await refresh()
    expect(await scene.voucher(code)).toMatchObject({ times_used: 2, max_uses: 3 })
    expect(await scene.voucher(other)).toMatchObject({ times_used: 0 })
    expect(await scene.progress(batch)).toMatchObject({ times_redeemed: 1 })
    scene.use(code, 1)
    const [found] = await scene.atStripe(code)
    await scene.dashboard.promotionCodes.update(found?.id ?? '', { metadata: { looked: 'yes' } })
    await scene.settle()
    expect(await scene.voucher(code)).toMatchObject({ times_used: 3 })
  })

  it('counts the use of a code on a subscription', async () => {
    const batch = await scene.batch({ count: 1 })
    const [code = ''] = await scene.published(batch)
    const [found] = await scene.atStripe(code)
    const stripe = scene.dashboard
    const customer = await stripe.customers.create({})
    const product = await stripe.products.create({ name: 'Booth' })
    const price = { product: product.id, currency: 'eur', unit_amount: 1_000 }
    await stripe.subscriptions.create({
      customer: customer.id,
      collection_method: 'send_invoice',
      days_until_due: 30,
      items: [{ price_data: { ...price, recurring: { interval: 'month' } } }],
      discounts: [{ promotion_code: found?.id ?? '' }],
    })
    await refresh()
    expect(await scene.voucher(code)).toMatchObject({ times_used: 1 })
  })

  it('is published once, also on concurrent requests', async () => {
    const batch = await scene.batch()
    const key = { headers: { 'idempotency-key': unique('key') } }
    const first = await scene.publish(batch, {}, key)
    expect((await scene.publish(batch, {}, key)).body).toEqual(first.body)
    await scene.align(batch)
    expect((await scene.publish(batch)).body).toMatchObject({ id: first.body['id'], pending: 0 })
    await scene.align(batch)
    expect(creations()).toHaveLength(3)
    expect(await scene.progress(batch)).toMatchObject({ state: 'done' })
  })
})

describe('an interrupted publication', () => {
  it.each(['cut', 'status_500'] as const)(
    'F8: resumes and creates one promotion code per voucher: %s',
    async (how) => {
      const batch = await scene.batch({ count: 8 })
      const at = { method: 'POST', path: '/v1/promotion_codes', times: 'always' } as const
      scene.fake.control.injectFault({ ...at, skip: 2, action: { kind: 'fail_after', how } })
      await scene.publish(batch)
      await expect(scene.align(batch)).rejects.toThrow('Stripe')
      scene.fake.control.clearFaults()
      const halfway = await scene.progress(batch)
      expect(halfway['state']).toBe('running')
      expect(halfway['pending']).toBeGreaterThan(0)
      await scene.publish(batch)
      await scene.align(batch)
      expect(await scene.progress(batch)).toMatchObject({ state: 'done', published: 8, failed: 0 })
      for (const code of await scene.codes(batch)) {
        expect(await scene.atStripe(code)).toHaveLength(1)
      }
    },
  )

  it('finds its promotion codes after Stripe has forgotten the keys', async () => {
    const batch = await scene.batch({ count: 2 })
    const at = { method: 'POST', path: '/v1/promotion_codes', times: 'always' } as const
    scene.fake.control.injectFault({ ...at, action: { kind: 'fail_after' } })
    await scene.publish(batch)
    await expect(scene.align(batch)).rejects.toThrow('Stripe')
    scene.fake.control.clearFaults()
    scene.fake.control.clock.advance(25 * 3_600)
    await scene.publish(batch)
    await scene.align(batch)
    expect(await scene.progress(batch)).toMatchObject({ state: 'done', published: 2, failed: 0 })
    for (const code of await scene.codes(batch)) expect(await scene.atStripe(code)).toHaveLength(1)
  })

  it('shows the refused codes, creates the others, and retries when it is published again', async () => {
    const batch = await scene.batch()
    const [taken = '', ...others] = await scene.codes(batch)
    const coupon = await scene.dashboard.coupons.create({ percent_off: 1 })
    const promotion = { type: 'coupon', coupon: coupon.id } as const
    const foreign = await scene.dashboard.promotionCodes.create({ promotion, code: taken })
    await scene.published(batch)
    expect(await scene.progress(batch)).toMatchObject({
      state: 'done',
      published: 2,
      failed: 1,
      errors: [{ code: taken, detail: expect.stringContaining('already exists') }],
    })
    expect(activeOf(others)).toEqual([true, true])
    await scene.dashboard.promotionCodes.update(foreign.id, { active: false })
    await scene.publish(batch)
    await scene.align(batch)
    expect(await scene.progress(batch)).toMatchObject({ published: 3, failed: 0, errors: [] })
  })

  it('makes the codes redeemable here when Stripe refuses the coupon, and may be repeated', async () => {
    const addOn = await createAddOn(scene, scene.shop)
    const batch = await scene.batch({ add_on: addOn.id })
    const [code = ''] = await scene.codes(batch)
    await scene.publish(batch, { products: ['prod_none'] })
    expect(await redeem(code)).toMatchObject({ status: 409 })
    await scene.align(batch)
    expect(await scene.progress(batch)).toMatchObject({
      state: 'failed',
      error: expect.stringContaining('prod_none'),
    })
    expect(await redeem(code)).toMatchObject({ status: 201 })
    const product = await scene.dashboard.products.create({ name: 'T-shirt' })
    await scene.published(batch, { products: [product.id] })
    const done = await scene.progress(batch)
    expect(done).toMatchObject({ state: 'done', total: 2, published: 2 })
    const expand = { expand: ['applies_to'] }
    const coupon = await scene.dashboard.coupons.retrieve(String(done['coupon']), expand)
    expect(coupon.applies_to).toEqual({ products: [product.id] })
  })
})

describe('every five minutes', () => {
  const fire = () => {
    const timers = serviceTimers(loadConfig({}), scene.deps.logger)
    const timer = timers.find(({ name }) => name === 'read_published_vouchers')
    return withSystem(scene.db, 'timers', async (trx) => timer?.fire(trx))
  }
  const jobsOf = (task: string) =>
    scene.rows<{ key: string }>(`select key from graphile_worker.jobs where task_identifier = $1`, [
      task,
    ])

  it('the timer adds a job for conferences with publications only', async () => {
    const other = await scene.openWiredShop()
    await scene.published(await scene.batch({ count: 1 }))
    await fire()
    const keys = (await jobsOf('read_published_vouchers')).map(({ key }) => key)
    expect(keys).toContain(`read_published_vouchers:${scene.shop.conference}`)
    expect(keys).not.toContain(`read_published_vouchers:${other.conference}`)
  })

  it('the uses of all codes of a large batch, published in chunks, are fetched until they are used up', async () => {
    // One more than a page of Stripe's list, and more than one run of the job creates.
    const batch = await scene.batch({ count: 101 })
    const codes = await scene.published(batch)
    expect(await scene.progress(batch)).toMatchObject({ state: 'done', published: 101 })
    expect(new Set(creations().map(({ idempotencyKey }) => idempotencyKey)).size).toBe(101)
    const { coupon } = await scene.progress(batch)
    const lists = () =>
      scene.fake.control
        .requests({ method: 'GET', path: '/v1/promotion_codes' })
        .filter(({ params }) => params['coupon'] === coupon)
    for (const code of codes) scene.use(code)
    scene.fake.control.clearRequests()
    await refreshPublishedVouchers(scene.deps, scene.shop.conference)
    expect(lists()).toHaveLength(2)
    expect(await scene.progress(batch)).toMatchObject({ times_redeemed: 101 })
    const [used] = await scene.rows<{ n: number }>(
      `select count(*)::int as n from vouchers where batch_id = $1 and times_used = 1`,
      [batch],
    )
    expect(used).toEqual({ n: 101 })
    await refreshPublishedVouchers(scene.deps, scene.shop.conference)
    expect(lists()).toHaveLength(2)
  }, 60_000)

  it('a coupon that was deleted in the dashboard does not stop the others', async () => {
    const [gone, left] = [await scene.batch({ count: 1 }), await scene.batch({ count: 1 })]
    await scene.published(gone)
    const [code = ''] = await scene.published(left)
    const { coupon } = await scene.progress(gone)
    await scene.dashboard.coupons.del(String(coupon))
    scene.use(code)
    await refreshPublishedVouchers(scene.deps, scene.shop.conference)
    expect(await scene.voucher(code)).toMatchObject({ times_used: 1 })
  })

  it('the work of a failed job is added again', async () => {
    const batch = await scene.batch({ count: 1 })
    const [code = ''] = await scene.published(batch)
    await switchCode(code, 'deactivate')
    await scene.rows(
      `select graphile_worker.permanently_fail_jobs(array_agg(id), 'gave up')
       from graphile_worker.jobs where key = $1`,
      [`align_promotion_codes:${batch}`],
    )
    await refreshPublishedVouchers(scene.deps, scene.shop.conference)
    await scene.align(batch)
    expect(activeOf([code])).toEqual([false])
  })
})

describe('publishing a batch', () => {
  it.each<[string, Body, number, string]>([
    ['more than a thousand codes', { count: 1_001 }, 409, '1000'],
    ['no discount', { discount_value: 0 }, 409, 'no discount'],
    ['a start in the future', { valid_from: inDays(3) }, 409, 'not valid yet'],
    ['an end in six years', { valid_until: inDays(6 * 365) }, 409, 'five years'],
  ])('is refused for %s', async (_what, terms, status, reason) => {
    if (terms['count'] !== undefined) {
      await scene.rows(`update conferences set max_quantity = 5000 where id = $1`, [
        scene.shop.conference,
      ])
    }
    const batch = await scene.batch(terms)
    const answer = await scene.publish(batch)
    expect(answer.status).toBe(status)
    expect(answer.body['detail']).toContain(reason)
    expect(await scene.waiting(batch)).toBe(0)
  })

  it('of one ticket type needs products', async () => {
    const batch = await scene.batch({ ticket_type: scene.shop.ticketType })
    expect(await scene.publish(batch)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/products' }] },
    })
    expect((await scene.publish(batch, { products: [] })).status).toBe(202)
  })

  it('is refused without a Stripe key', async () => {
    const conference = await createConference(scene, { stripe_secret_key: undefined })
    const { body } = await scene.request('POST', `${conference.path}/voucher-batches`, {
      body: { count: 1, voucher_type: 'comp' },
    })
    const url = `${conference.path}/voucher-batches/${String(body['id'])}/publish`
    expect(await scene.request('POST', url, { body: {} })).toMatchObject({
      status: 409,
      body: { code: 'stripe_key_missing' },
    })
  })

  it('is 404 for another conference’s batch and 403 without the scope', async () => {
    const other = await createConference(scene)
    const batch = await scene.batch()
    const url = `${other.path}/voucher-batches/${batch}`
    expect(await scene.request('POST', `${url}/publish`, { body: {} })).toMatchObject({
      status: 404,
    })
    expect(await scene.request('GET', `${url}/publication`)).toMatchObject({ status: 404 })
    const { key } = await createStaffKey(scene, scene.shop, ['vouchers:write'])
    expect((await scene.publish(batch, {}, { as: key })).status).toBe(403)
  })
})

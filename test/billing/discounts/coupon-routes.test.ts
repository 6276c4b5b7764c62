import { afterEach, describe, expect, it } from 'vitest'
import { createConference, createStaffKey, unique } from '../../support/fixtures.ts'
import type { Body } from '../../support/test-app.ts'
import { useCouponScene } from './coupon-scene.ts'

const scene = useCouponScene()
afterEach(() => {
  scene.fake.control.clearFaults()
  scene.fake.control.clearRequests()
})

const newId = () => unique('COUPON')
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
const changesOf = (id: string) =>
  scene.rows<Body>(
    `select action, state, refusal, actor_kind, actor_id from discount_changes
     where object_id = $1 order by created_at`,
    [id],
  )

/** The status, and the first field error of a problem response. */
function broken({ status, body }: { status: number; body: Body }) {
  const [first] = (body['errors'] ?? []) as { pointer: string; detail: string }[]
  return { status, pointer: first?.pointer }
}

describe('creating a coupon', () => {
  it('stores it at Stripe and in the mirror', async () => {
    const id = newId()
    const product = await scene.dashboard.products.create({ name: 'Conference ticket' })
    const { status, body } = await scene.create({
      id,
      percent_off: 12.5,
      duration: 'repeating',
      duration_in_months: 3,
      max_redemptions: 40,
      redeem_by: inDays(30),
      name: 'An eighth off',
      metadata: { campaign: 'spring' },
      applies_to: { products: [product.id] },
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      id,
      object: 'coupon',
      deleted_at: null,
      percent_off: 12.5,
      duration: 'repeating',
      duration_in_months: 3,
      max_redemptions: 40,
      name: 'An eighth off',
      applies_to: { products: [product.id] },
      metadata: { campaign: 'spring', conference_id: scene.shop.conference },
    })
    expect((await scene.read(id)).body).toEqual(body)
    const atStripe = await scene.dashboard.coupons.retrieve(id, { expand: ['applies_to'] })
    expect(atStripe).toMatchObject({ percent_off: 12.5, applies_to: { products: [product.id] } })
  })

  it('lets the key that created the coupon and its codes read them, and no other mirror (issue 8, line 28)', async () => {
    const { key: as } = await createStaffKey(scene, scene.shop, ['billing:write'])
    const { body } = await scene.create({ percent_off: 10 }, { as })
    const path = `${scene.shop.path}/stripe`
    const codes = `${path}/promotion-codes`
    const code = await scene.request('POST', codes, { as, body: { coupon: body['id'] } })
    const read = (url: string) => scene.request('GET', url, { as })
    expect(await read(`${path}/coupons/${String(body['id'])}`)).toMatchObject({
      status: 200,
      body: { id: body['id'], percent_off: 10 },
    })
    expect(await read(`${path}/coupons`)).toMatchObject({ status: 200 })
    expect(await read(`${codes}/${String(code.body['id'])}`)).toMatchObject({ status: 200 })
    expect(await read(codes)).toMatchObject({ status: 200 })
    expect(await read(`${path}/customers`)).toMatchObject({ status: 403 })
  })

  it('chooses an id when none is given', async () => {
    const { status, body } = await scene.create({ percent_off: 5 })
    expect(status).toBe(201)
    expect(body['id']).toMatch(/^[A-Za-z0-9]{8}$/)
    expect((await scene.dashboard.coupons.retrieve(String(body['id']))).percent_off).toBe(5)
  })

  it.each([
    ['EUR', 1_050, 1_050],
    ['JPY', 1_000, 1_000],
    ['KWD', 1_250, 1_250],
    ['ISK', 500, 50_000],
    ['UGX', 3_000, 300_000],
    ['HUF', 25_000, 25_000],
    ['TWD', 10_000, 10_000],
  ])('F15: sends amounts in Stripe’s units: %s %i as %i', async (currency, amount, sent) => {
    const { status, body } = await scene.create({ amount_off: amount, currency })
    expect(status).toBe(201)
    const atStripe = await scene.dashboard.coupons.retrieve(String(body['id']))
    expect(atStripe).toMatchObject({ amount_off: sent, currency: currency.toLowerCase() })
  })

  it('F15: accepts a percentage with two decimals', async () => {
    const { body } = await scene.create({ percent_off: 33.33 })
    expect(body).toMatchObject({ percent_off: 33.33, amount_off: null, currency: null })
  })

  it('F19: converts redeem_by from any time zone', async () => {
    const { body } = await scene.create({ percent_off: 5, redeem_by: '2028-07-01T00:30:00+02:00' })
    expect(body).toMatchObject({ redeem_by: '2028-06-30T22:30:00.000Z' })
    const atStripe = await scene.dashboard.coupons.retrieve(String(body['id']))
    expect(atStripe.redeem_by).toBe(Date.UTC(2028, 5, 30, 22, 30) / 1000)
  })

  it('accepts amounts in other currencies', async () => {
    const { body } = await scene.create({
      amount_off: 1_000,
      currency: 'eur',
      currency_options: { usd: { amount_off: 1_100 }, ISK: { amount_off: 150 } },
    })
    const options = { eur: { amount_off: 1_000 }, usd: { amount_off: 1_100 } }
    expect(body['data']).toMatchObject({
      currency_options: { ...options, isk: { amount_off: 15_000 } },
    })
  })

  it.each<[string, Body, string]>([
    ['no discount', {}, '/amount_off'],
    ['both discounts', { amount_off: 100, currency: 'EUR', percent_off: 10 }, '/percent_off'],
    ['an amount without a currency', { amount_off: 100 }, '/currency'],
    ['a currency without an amount', { percent_off: 10, currency: 'EUR' }, '/currency'],
    ['an unknown currency', { amount_off: 100, currency: 'XYZ' }, '/currency'],
    ['an amount of zero', { amount_off: 0, currency: 'EUR' }, '/amount_off'],
    ['half a cent', { amount_off: 10.5, currency: 'EUR' }, '/amount_off'],
    ['more than Stripe can charge', { amount_off: 1_000_000, currency: 'ISK' }, '/amount_off'],
    ['an amount between the steps', { amount_off: 1_255, currency: 'KWD' }, '/amount_off'],
    ['zero percent', { percent_off: 0 }, '/percent_off'],
    ['above 100 percent', { percent_off: 100.01 }, '/percent_off'],
    ['three decimals', { percent_off: 33.333 }, '/percent_off'],
    ['an unknown duration', { percent_off: 5, duration: 'weekly' }, '/duration'],
    ['months without repeating', { percent_off: 5, duration_in_months: 2 }, '/duration_in_months'],
    ['repeating without months', { percent_off: 5, duration: 'repeating' }, '/duration_in_months'],
    ['an end in the past', { percent_off: 5, redeem_by: inDays(-1) }, '/redeem_by'],
    ['an end too far away', { percent_off: 5, redeem_by: inDays(5 * 365 + 2) }, '/redeem_by'],
    ['no redemptions', { percent_off: 5, max_redemptions: 0 }, '/max_redemptions'],
    ['a long name', { percent_off: 5, name: 'x'.repeat(41) }, '/name'],
    ['an id with a slash', { percent_off: 5, id: 'a/b' }, '/id'],
    ['a long metadata key', { percent_off: 5, metadata: { ['k'.repeat(41)]: 'v' } }, '/metadata'],
    ['a long metadata value', { percent_off: 5, metadata: { k: 'v'.repeat(501) } }, '/metadata/k'],
    ['our own metadata', { percent_off: 5, metadata: { conference_id: 'x' } }, '/metadata'],
    ['no product', { percent_off: 5, applies_to: { products: [] } }, '/applies_to/products'],
    [
      'other currencies for a percentage',
      { percent_off: 5, currency_options: { usd: { amount_off: 5 } } },
      '/currency_options',
    ],
    [
      'its own currency in currency_options',
      { amount_off: 5, currency: 'EUR', currency_options: { eur: { amount_off: 5 } } },
      '/currency_options/eur',
    ],
    ['an unknown field', { percent_off: 5, color: 'red' }, '/color'],
  ])('is refused before a request to Stripe: %s', async (_rule, body, pointer) => {
    const answer = broken(await scene.create(body))
    expect(answer.status).toBe(400)
    expect(answer.pointer).toMatch(new RegExp(`^${pointer}`))
    expect(scene.writes()).toEqual([])
  })

  it('refuses the id of an existing coupon', async () => {
    const id = newId()
    await scene.create({ id, percent_off: 10 })
    scene.fake.control.clearRequests()
    const again = await scene.create({ id, percent_off: 20 })
    expect(again).toMatchObject({ status: 409, body: { code: 'already_exists' } })
    expect(broken(again).pointer).toBe('/id')
    expect(scene.writes()).toEqual([])
  })

  it('refuses an id that exists at Stripe, also before its webhook arrives', async () => {
    const id = newId()
    scene.fake.control.pause()
    try {
      await scene.dashboard.coupons.create({ id, percent_off: 10 })
      const again = await scene.create({ id, percent_off: 20 })
      expect(again).toMatchObject({ status: 409, body: { code: 'already_exists' } })
    } finally {
      scene.fake.control.resume()
    }
  })

  it('returns and records the reason when Stripe refuses', async () => {
    const id = newId()
    const body = { id, percent_off: 10, applies_to: { products: ['prod_none'] } }
    const answer = await scene.create(body)
    expect(answer).toMatchObject({ status: 409, body: { code: 'stripe_refused' } })
    expect(String(answer.body['detail'])).toContain('prod_none')
    expect(await changesOf(id)).toMatchObject([{ action: 'create', state: 'refused' }])
  })
})

describe('changing a coupon', () => {
  it('changes its name, metadata and other currencies', async () => {
    const id = newId()
    await scene.create({
      id,
      amount_off: 500,
      currency: 'EUR',
      name: 'Old',
      metadata: { a: '1', b: '2' },
    })
    const { status, body } = await scene.update(id, {
      name: 'New',
      metadata: { a: null, c: '3' },
      currency_options: { usd: { amount_off: 600 } },
    })
    expect(status).toBe(200)
    expect(body).toMatchObject({ id, name: 'New', metadata: { b: '2', c: '3' } })
    expect(body['metadata']).not.toHaveProperty('a')
    expect(body['metadata']).toHaveProperty('conference_id')
    expect(body['data']).toMatchObject({ currency_options: { usd: { amount_off: 600 } } })
    expect(await scene.dashboard.coupons.retrieve(id)).toMatchObject({ name: 'New' })
    const cleared = await scene.update(id, { name: null })
    expect(cleared.body['name'] ?? '').toBe('')
  })

  it.each([
    'id',
    'amount_off',
    'percent_off',
    'currency',
    'duration',
    'duration_in_months',
    'max_redemptions',
    'redeem_by',
    'applies_to',
  ])('refuses to change its %s and gives the reason', async (field) => {
    const id = newId()
    await scene.create({ id, percent_off: 10 })
    scene.fake.control.clearRequests()
    const { status, body } = await scene.update(id, { name: 'x', [field]: 'anything' })
    expect(status).toBe(400)
    expect(body['errors']).toMatchObject([
      {
        pointer: `/${field}`,
        detail: expect.stringContaining('cannot be changed: Stripe does not'),
      },
    ])
    expect(scene.writes()).toEqual([])
  })

  it('refuses unknown fields', async () => {
    const answer = await scene.update('any', { color: 'red' })
    expect(answer.body['errors']).toEqual([{ pointer: '/color', detail: 'is not a known field' }])
  })

  it('F17: keeps concurrent changes of the dashboard, in any order of webhooks', async () => {
    const id = newId()
    await scene.create({ id, percent_off: 10, metadata: { a: '1' } })
    await scene.dashboard.coupons.update(id, { name: 'By the dashboard', metadata: { b: '2' } })
    const { body } = await scene.update(id, { metadata: { c: '3' } })
    expect(body).toMatchObject({ name: 'By the dashboard', metadata: { a: '1', b: '2', c: '3' } })
    await scene.settle()
    expect((await scene.read(id)).body).toMatchObject({ name: 'By the dashboard' })
  })

  it('refuses other currencies for a percentage, and its own currency', async () => {
    const [percent, amount] = [newId(), newId()]
    await scene.create({ id: percent, percent_off: 10 })
    await scene.create({ id: amount, amount_off: 100, currency: 'EUR' })
    const usd = await scene.update(percent, { currency_options: { usd: { amount_off: 5 } } })
    expect(broken(usd)).toEqual({ status: 400, pointer: '/currency_options' })
    const eur = await scene.update(amount, { currency_options: { eur: { amount_off: 5 } } })
    expect(broken(eur)).toEqual({ status: 400, pointer: '/currency_options/EUR' })
  })
})

describe('deleting a coupon', () => {
  it('deletes it at Stripe, keeps a tombstone, and is a no-op the second time', async () => {
    const id = newId()
    await scene.create({ id, percent_off: 10 })
    const { status, body } = await scene.remove(id)
    expect(status).toBe(200)
    expect(body).toMatchObject({ id, percent_off: 10, deleted_at: expect.any(String) })
    await expect(scene.dashboard.coupons.retrieve(id)).rejects.toThrow('No such coupon')
    scene.fake.control.clearRequests()
    const again = await scene.remove(id)
    expect(again).toMatchObject({ status: 200, body: { deleted_at: body['deleted_at'] } })
    expect(scene.writes()).toEqual([])
  })

  it('F16: allows a new coupon with the same id, which can be changed and deleted', async () => {
    const id = newId()
    await scene.create({ id, percent_off: 10 })
    await scene.remove(id)
    const reborn = await scene.create({ id, percent_off: 20 })
    expect(reborn).toMatchObject({ status: 201, body: { percent_off: 20, deleted_at: null } })
    await scene.settle()
    expect((await scene.update(id, { name: 'Again' })).body).toMatchObject({ name: 'Again' })
    expect((await scene.remove(id)).status).toBe(200)
  })

  it('F16: in the dashboard deletes it here too: changes are refused and the id is free', async () => {
    const id = newId()
    await scene.dashboard.coupons.create({ id, percent_off: 10 })
    await scene.settle()
    await scene.dashboard.coupons.del(id)
    expect(await scene.update(id, { name: 'x' })).toMatchObject({ status: 404 })
    expect((await scene.read(id)).body).toMatchObject({ deleted_at: expect.any(String) })
    expect((await scene.create({ id, percent_off: 30 })).status).toBe(201)
  })

  it('is 404 for an unknown id and leaves no row in the mirror', async () => {
    expect(await scene.remove('never')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(await scene.update('never', { name: 'x' })).toMatchObject({ status: 404 })
    expect(await scene.read('never')).toMatchObject({ status: 404 })
  })
})

describe('changes in the dashboard', () => {
  it('arrive by webhook and cause no write to Stripe, so nothing loops', async () => {
    const id = newId()
    await scene.dashboard.coupons.create({ id, percent_off: 15, name: 'Made there' })
    await scene.settle()
    expect((await scene.read(id)).body).toMatchObject({ percent_off: 15, name: 'Made there' })
    await scene.dashboard.coupons.update(id, { name: 'Changed there' })
    await scene.settle()
    expect((await scene.read(id)).body).toMatchObject({ name: 'Changed there' })
    await scene.dashboard.coupons.del(id)
    await scene.settle()
    expect((await scene.read(id)).body).toMatchObject({ deleted_at: expect.any(String) })
    expect(scene.writes()).toEqual([
      'POST /v1/coupons',
      `POST /v1/coupons/${id}`,
      `DELETE /v1/coupons/${id}`,
    ])
  })

  it('of our own that come back as events cause no write either', async () => {
    const id = newId()
    await scene.create({ id, percent_off: 15 })
    await scene.update(id, { name: 'Ours' })
    await scene.remove(id)
    await scene.settle()
    const types = scene.fake.control
      .events({ account: scene.shop.stripeKey, type: 'coupon.*' })
      .filter(({ data }) => JSON.stringify(data).includes(id))
      .map(({ type }) => type)
    expect(types).toEqual(['coupon.created', 'coupon.updated', 'coupon.deleted'])
    expect(scene.writes()).toEqual([
      'POST /v1/coupons',
      `POST /v1/coupons/${id}`,
      `DELETE /v1/coupons/${id}`,
    ])
    expect((await scene.events(scene.shop)).every(({ status }) => status !== 'failed')).toBe(true)
  })
})

describe('access to coupons', () => {
  it('needs billing:write, and each change records the key', async () => {
    const { key, id: keyId } = await createStaffKey(scene, scene.shop, ['billing:write'])
    const { key: reader } = await createStaffKey(scene, scene.shop, ['stripe:sync'])
    const id = newId()
    expect((await scene.create({ id, percent_off: 1 }, { as: reader })).status).toBe(403)
    expect((await scene.create({ id, percent_off: 1 }, { as: key })).status).toBe(201)
    await scene.update(id, { name: 'x' }, { as: key })
    await scene.remove(id)
    expect(await changesOf(id)).toMatchObject([
      { action: 'create', state: 'accepted', actor_kind: 'staff', actor_id: keyId },
      { action: 'update', state: 'accepted', actor_kind: 'staff', actor_id: keyId },
      { action: 'delete', state: 'accepted', actor_kind: 'operator' },
    ])
    const list = `${scene.shop.path}/stripe/discount-changes?object_id=${id}`
    const { body } = await scene.request<{ data: Body[] }>('GET', list, { as: key })
    expect(body.data).toMatchObject([
      { action: 'delete', params: {} },
      { action: 'update', params: { name: 'x' }, actor: { kind: 'staff', id: keyId } },
      { action: 'create', params: { id, percent_off: 1 }, kind: 'coupon' },
    ])
  })

  it("F20: excludes another conference's coupons on the same Stripe account", async () => {
    const other = await createConference(scene, { stripe_secret_key: scene.shop.stripeKey })
    const id = newId()
    await scene.create({ id, percent_off: 10 })
    const path = `${other.path}/stripe/coupons/${id}`
    expect(await scene.request('DELETE', path)).toMatchObject({ status: 404 })
    expect(await scene.request('PATCH', path, { body: { name: 'x' } })).toMatchObject({
      status: 404,
    })
    expect(await scene.request('GET', path)).toMatchObject({ status: 404 })
    expect(await scene.dashboard.coupons.retrieve(id)).toMatchObject({ id, name: null })
  })
})

import { beforeAll, describe, expect, it } from 'vitest'
import { databaseNow } from '../../src/mirror/fetch-time.ts'
import { SCOPES } from '../../src/shared/caller.ts'
import { createStaffKey } from '../support/fixtures.ts'
import { coupon, type MirrorReader, named, readerOf } from './mirror-reader.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let neighbour: WiredShop
let mirror: MirrorReader
let theirs: MirrorReader
beforeAll(async () => {
  shop = await scene.openWiredShop()
  neighbour = await scene.openWiredShop()
  mirror = readerOf(scene, shop)
  theirs = readerOf(scene, neighbour)
})

const ownMirror = async () => readerOf(scene, await scene.openWiredShop())

describe('a mirrored object', () => {
  it('has its typed columns and the whole object, with times in UTC', async () => {
    const object = coupon({
      name: 'A quarter off',
      percent_off: 12.345,
      max_redemptions: 100,
      redeem_by: 1_809_122_400,
      valid: true,
      applies_to: { products: ['prod_1'] },
      metadata: { campaign: 'spring' },
    })
    await mirror.store('coupons', [object])
    const [stored] = (await scene.stored(shop, 'coupons')).filter(({ id }) => id === object.id)
    const { status, body } = await mirror.get('coupons', object.id)
    expect(status).toBe(200)
    expect(body).toEqual({
      id: object.id,
      object: 'coupon',
      livemode: false,
      as_of: stored?.as_of.toISOString(),
      deleted_at: null,
      created: new Date((object.created ?? 0) * 1_000).toISOString(),
      name: 'A quarter off',
      amount_off: null,
      currency: null,
      percent_off: 12.345,
      duration: null,
      duration_in_months: null,
      max_redemptions: 100,
      redeem_by: '2027-04-30T22:00:00.000Z',
      times_redeemed: null,
      valid: true,
      applies_to: { products: ['prod_1'] },
      metadata: { campaign: 'spring' },
      data: object,
    })
  })

  it('is the same in a list', async () => {
    const object = coupon({ name: 'Listed' })
    await mirror.store('coupons', [object])
    const { data } = await mirror.list('coupons', { name: 'Listed' })
    expect(data).toEqual([(await mirror.get('coupons', object.id)).body])
  })

  it.each([
    ['the largest exact amount', 9_007_199_254_740_991],
    ['a negative amount', -9_007_199_254_740_991],
  ])('keeps %s exact', async (_, amount) => {
    const object = coupon({ amount_off: amount })
    await mirror.store('coupons', [object])
    expect((await mirror.get('coupons', object.id)).body).toMatchObject({ amount_off: amount })
    expect(await mirror.ids('coupons', { amount_off: String(amount) })).toEqual([object.id])
  })

  it('is found by an id with any characters', async () => {
    const ids = ['50% off', 'a/b', 'ü€😀', "o'hare", 'a|b|%7C%25', 'what?#now', 'a+b&c=d', '%2F']
    await mirror.store(
      'coupons',
      ids.map((id) => coupon({ id })),
    )
    for (const id of ids) {
      expect(await mirror.get('coupons', id), id).toMatchObject({ status: 200, body: { id } })
    }
  })

  it('is 404 if the mirror does not have it', async () => {
    const { status, body } = await mirror.get('coupons', 'never-heard-of')
    expect({ status, body }).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(body['detail']).toBe('There is no such coupon.')
  })

  it('does not show client secrets, which stay in the table', async () => {
    const object = coupon({
      client_secret: 'pi_1_secret_x',
      latest_invoice: { payments: [{ client_secret: 'pi_2_secret_x', id: 'pi_2' }] },
      metadata: { client_secret: 'a note of our own' },
    })
    await mirror.store('coupons', [object])
    const { body } = await mirror.get('coupons', object.id)
    expect(body.data).toMatchObject({ latest_invoice: { payments: [{ id: 'pi_2' }] } })
    expect(body['metadata']).toEqual({ client_secret: 'a note of our own' })
    for (const shown of [body, (await mirror.list('coupons')).data]) {
      expect(JSON.stringify(shown)).not.toContain('_secret_x')
    }
    const [stored] = (await scene.stored(shop, 'coupons')).filter(({ id }) => id === object.id)
    expect(stored?.data).toEqual(object)
  })
})

describe('a tombstone', () => {
  it('keeps its last values, and is listed only with include_deleted', async () => {
    const object = coupon({ name: 'Deleted one' })
    await mirror.store('coupons', [object])
    await mirror.store('coupons', [{ id: object.id, object: 'coupon', deleted: true }])
    const { status, body } = await mirror.get('coupons', object.id)
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { name: 'Deleted one', deleted_at: expect.any(String), data: object },
    })
    expect(await mirror.ids('coupons', { name: 'Deleted one' })).toEqual([])
    expect(await mirror.ids('coupons', { name: 'Deleted one', include_deleted: 'false' })).toEqual(
      [],
    )
    const all = await mirror.list('coupons', { name: 'Deleted one', include_deleted: 'true' })
    expect(all.data).toEqual([body])
  })

  it('of an object that was never fetched has no creation time', async () => {
    await mirror.store('customers', [{ id: 'cus_unseen', object: 'customer', deleted: true }])
    expect((await mirror.get('customers', 'cus_unseen')).body).toMatchObject({
      object: 'customer',
      created: null,
      livemode: null,
      email: null,
    })
    const query = { include_deleted: 'true' }
    expect(await mirror.ids('customers', query)).toContain('cus_unseen')
    const before = { ...query, created_before: '2100-01-01T00:00:00Z' }
    expect(await mirror.ids('customers', before)).not.toContain('cus_unseen')
  })
})

describe('a list', () => {
  it('is sorted newest first, and its pages contain every object once', async () => {
    const own = await ownMirror()
    // The same second, so the ids decide the order; they contain the separators of cursors.
    const same = { created: 1_700_000_000 }
    const odd = ['a|b', '50%', '%7C', 'ü'.repeat(120)].map((id) => coupon({ id, ...same }))
    const plain = Array.from({ length: 7 }, () => coupon())
    await own.store('coupons', [...odd, ...plain])
    const whole = await own.ids('coupons')
    expect(whole.slice(0, 7)).toEqual(plain.map(({ id }) => id).toReversed())
    expect(new Set(whole.slice(7))).toEqual(new Set(odd.map(({ id }) => id)))
    for (const limit of ['1', '2', '3', '11', '12']) {
      expect(await own.allPages({ limit }), `limit ${limit}`).toEqual(whole)
    }
  })

  it('repeats and skips nothing during a sync', async () => {
    const own = await ownMirror()
    const first = Array.from({ length: 6 }, () => coupon())
    await own.store('coupons', first)
    const sync = () => own.store('coupons', [coupon(), ...first])
    expect(await own.allPages({ limit: '2' }, sync)).toEqual(first.map(({ id }) => id).toReversed())
  })

  it('can be filtered by creation time', async () => {
    const own = await ownMirror()
    const at = (moment: string) => Date.parse(moment) / 1_000
    await own.store('coupons', [
      coupon({ id: 'old', created: at('2026-01-01T00:00:00Z') }),
      coupon({ id: 'middle', created: at('2026-02-01T00:00:00Z') }),
      coupon({ id: 'new', created: at('2026-03-01T00:00:00Z') }),
    ])
    const found = (query: Record<string, string>) => own.ids('coupons', query)
    const [after, before] = ['2026-01-01T00:00:00Z', '2026-03-01T01:00:00+01:00']
    expect(await found({ created_after: after })).toEqual(['new', 'middle'])
    expect(await found({ created_before: before })).toEqual(['middle', 'old'])
    expect(await found({ created_after: after, created_before: before })).toEqual(['middle'])
  })

  it('can be filtered by equal texts, numbers and booleans', async () => {
    const own = await ownMirror()
    await own.store('coupons', [
      coupon({ id: 'eur', currency: 'eur', amount_off: 500, valid: true }),
      coupon({ id: 'jpy', currency: 'jpy', amount_off: 500, valid: false }),
      coupon({ id: 'none' }),
    ])
    const found = (query: Record<string, string>) => own.ids('coupons', query)
    expect(await found({ currency: 'eur' })).toEqual(['eur'])
    expect(await found({ currency: 'EUR' })).toEqual([])
    expect(await found({ amount_off: '500' })).toEqual(['jpy', 'eur'])
    expect(await found({ amount_off: '500', valid: 'false' })).toEqual(['jpy'])
    expect(await found({ valid: 'true' })).toEqual(['eur'])
    expect(await found({ amount_off: '0' })).toEqual([])
  })

  it.each([
    ['colour', 'red'],
    ['percent_off', '25'], // a decimal is not compared for equality
    ['conference_id', 'conf_1'],
    ['deleted_at', 'null'],
    ['valid', 'yes'],
    ['valid', ''],
    ['valid', 'constructor'],
    ['amount_off', 'ten'],
    ['amount_off', '1.5'],
    ['amount_off', '1e3'],
    ['amount_off', ''],
    ['amount_off', '9007199254740992'],
    ['currency', ''],
    ['include_deleted', '1'],
    ['created_after', 'yesterday'],
    ['created_before', '99999-01-01T00:00:00Z'],
    ['limit', '101'],
    ['cursor', 'made-up'],
  ])('refuses ?%s=%s and says where', async (name, value) => {
    const query = new URLSearchParams({ [name]: value }).toString()
    expect(await scene.request('GET', `${mirror.path('coupons')}?${query}`)).toMatchObject({
      status: 400,
      body: { code: 'validation_failed', errors: [{ pointer: `query/${name}` }] },
    })
  })

  it('rejects a repeated filter', async () => {
    const answer = await scene.request('GET', `${mirror.path('coupons')}?currency=eur&currency=jpy`)
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: 'query/currency' }] } })
  })
})

describe('the mirror', () => {
  it('of another conference is empty', async () => {
    const object = coupon({ id: 'of-the-neighbour', name: 'Secret plans' })
    await theirs.store('coupons', [object])
    expect(await mirror.get('coupons', object.id)).toMatchObject({ status: 404 })
    expect(await mirror.ids('coupons', { name: 'Secret plans' })).toEqual([])
    const { key } = await createStaffKey(scene, neighbour, ['stripe:sync'])
    expect(await mirror.get('coupons', object.id, key)).toMatchObject({ status: 404 })
    expect(await theirs.get('coupons', object.id, key)).toMatchObject({
      status: 200,
      body: { id: object.id },
    })
  })

  it('separates objects with the same id by conference', async () => {
    await mirror.store('coupons', [coupon({ id: 'SPRING', name: 'Ours' })])
    await theirs.store('coupons', [coupon({ id: 'SPRING', name: 'Theirs' })])
    expect((await mirror.get('coupons', 'SPRING')).body).toMatchObject({ name: 'Ours' })
  })

  it('rejects requests without a key (E14), of sponsors, and of staff without the scope', async () => {
    // `billing:write` may read the coupons that it made (issue 8, line 28).
    const readers = ['stripe:sync', 'billing:write']
    const others = SCOPES.filter((scope) => !readers.includes(scope))
    const { key: staff } = await createStaffKey(scene, shop, others)
    const { key: syncing } = await createStaffKey(scene, shop, ['stripe:sync'])
    const { key: billing } = await createStaffKey(scene, shop, ['billing:write'])
    await mirror.store('coupons', [coupon({ id: 'closed' })])
    for (const path of [mirror.path('coupons'), mirror.path('coupons', 'closed')]) {
      const as = async (key: string | null) =>
        (await scene.request('GET', path, { as: key })).status
      expect(await as(null), path).toBe(401)
      expect(await as(shop.sponsorKey), path).toBe(403)
      expect(await as(staff), path).toBe(403)
      expect(await as(syncing), path).toBe(200)
      expect(await as(billing), path).toBe(200)
    }
  })

  it('shows how fresh the row is, not the response', async () => {
    const object = coupon()
    const read = await databaseNow(scene.db)
    await named('coupons').createAction(scene.context(shop)).sync(object, read)
    const { body } = await mirror.get('coupons', object.id)
    expect(body['as_of']).toBe(new Date(Math.floor(read / 1_000)).toISOString())
  })
})

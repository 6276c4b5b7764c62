import { beforeEach, describe, expect, it } from 'vitest'
import type { Shop } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'
import { useDriftScene } from './drift-scene.ts'

const drift = useDriftScene()
const { scene, paid, sync, lines, report } = drift

let shop: Shop
beforeEach(async () => {
  shop = await drift.deafShop()
})

describe('the drift report', () => {
  it('has pages that contain every difference once, with counts on the first page', async () => {
    for (let count = 0; count < 3; count += 1) {
      const { payment } = await paid(shop)
      scene.fake.control.refund(payment)
    }
    await sync(shop)
    await scene.rows('delete from stripe.checkout_sessions where conference_id = $1', [
      shop.conference,
    ])
    const whole = await report(shop)
    expect(whole.summary).toEqual({ missing: 3, extra: 3, different: 6 })
    expect(whole.data).toHaveLength(12)
    for (const limit of [1, 5, 12]) {
      const seen: unknown[] = []
      let page = await report(shop, `?limit=${limit}`)
      expect(page.summary).toEqual(whole.summary)
      seen.push(...page.data)
      while (page.next_cursor !== null) {
        page = await report(shop, `?limit=${limit}&cursor=${page.next_cursor}`)
        expect(page.summary).toBeNull()
        seen.push(...page.data)
      }
      expect(page.has_more).toBe(false)
      expect(seen).toEqual(whole.data)
    }
  })

  it('can be filtered by kind and by purchase', async () => {
    const [one, other] = [await paid(shop), await paid(shop)]
    for (const { payment } of [one, other]) scene.fake.control.refund(payment)
    await sync(shop)
    const extra = await report(shop, '?kind=extra')
    expect(extra.summary).toEqual({ missing: 0, extra: 2, different: 0 })
    expect(new Set(extra.data.map(({ kind }) => kind))).toEqual(new Set(['extra']))
    const ofOne = await report(shop, `?purchase=${one.id}`)
    expect(ofOne.data).toHaveLength(3)
    expect(new Set(ofOne.data.map(({ purchase }) => purchase))).toEqual(new Set([one.id]))
  })

  it.each(['nonsense', Buffer.from('["no_such_check","a","b"]').toString('base64url'), 'W10'])(
    'rejects the cursor %s',
    async (cursor) => {
      const answer = await scene.request<Body>('GET', `${shop.path}/stripe/drift?cursor=${cursor}`)
      expect(answer).toMatchObject({
        status: 400,
        body: { code: 'validation_failed', errors: [{ pointer: 'query/cursor' }] },
      })
    },
  )

  it('rejects unknown kinds and fields', async () => {
    for (const query of ['?kind=wrong', '?colour=red', '?limit=101']) {
      const answer = await scene.request<Body>('GET', `${shop.path}/stripe/drift${query}`)
      expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
    }
  })

  it('of a conference is independent of other conferences, also with the same account', async () => {
    const neighbour = await drift.deafShop({ stripe_secret_key: shop.stripeKey })
    const { id, payment } = await paid(neighbour)
    scene.fake.control.refund(payment)
    await sync(neighbour)
    await sync(shop)
    expect(await lines(shop)).toEqual([])
    expect(await lines(shop, `?purchase=${id}`)).toEqual([])
    expect((await report(neighbour)).summary).toEqual({ missing: 0, extra: 1, different: 2 })
  })
})

import { afterEach, describe, expect, it } from 'vitest'
import { createEventWorker, type EventWorker } from '../../src/stripe-events/event-worker.ts'
import { eventOf } from '../stripe-events/inbox-app.ts'
import { idOf } from '../support/shop.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { expectMirrored, readsOf, storedRow } from './expect-mirrored.ts'
import { actionOf } from './mirrored-row.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()

const workers: EventWorker[] = []
afterEach(async () => {
  scene.fake.control.clearFaults()
  scene.fake.control.resume()
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
})

const eventIds = (shop: WiredShop, type = '*') =>
  scene.fake.control.events({ account: shop.stripeKey, type }).map(({ id }) => id)

/** A customer with updates whose events are held back. */
async function heldUpdates(count: number) {
  const shop = await scene.openWiredShop()
  const stripe = scene.stripeOf(shop)
  const { id } = await stripe.customers.create({ name: 'Ada' })
  await scene.settle()
  scene.fake.control.pause()
  for (let i = 1; i <= count; i += 1) await stripe.customers.update(id, { name: `Ada ${i}` })
  return {
    shop,
    stripe,
    id,
    path: `/v1/customers/${id}`,
    updates: eventIds(shop, 'customer.updated'),
  }
}

describe('the events of one object', () => {
  it('are handled with one fetch if they arrive in a burst', async () => {
    const { shop, id, path, updates } = await heldUpdates(50)
    expect(updates).toHaveLength(50)
    await Promise.all(updates.map((event) => scene.fake.control.deliver(event)))
    scene.fake.control.clearRequests()
    await scene.drain()
    expect(readsOf(scene, path)).toBe(1)
    expect((await storedRow(scene, shop, 'customers', id))?.['name']).toBe('Ada 50')
    expect(new Set((await scene.events(shop)).map(({ status }) => status))).toEqual(
      new Set(['done']),
    )
  })

  it('are handled with few fetches if they arrive during the work', async () => {
    const { shop, id, path, updates } = await heldUpdates(50)
    scene.fake.control.clearRequests()
    scene.fake.control.injectFault({
      method: 'GET',
      path,
      times: 'always',
      action: { kind: 'slow', ms: 100 },
    })
    const worker = createEventWorker({
      ...scene.deps,
      leaseSeconds: 60,
      lane: 'mirror',
    })
    workers.push(worker)
    worker.start()
    for (const event of updates) await scene.fake.control.deliver(event)
    const open = async () =>
      (await scene.events(shop)).filter(({ status }) => status === 'pending').length
    await expect.poll(open, POLL_OPTIONS).toBe(0)
    expect(readsOf(scene, path)).toBeLessThan(25)
    await expectMirrored(scene, shop, 'customers', id)
  })

  it('need no fetch if the object was fetched after they arrived', async () => {
    const { shop, id, path, updates } = await heldUpdates(3)
    await scene.fake.control.deliverInOrder(updates)
    await actionOf(scene, shop, 'customers').syncByIds([id])
    scene.fake.control.clearRequests()
    await scene.drain()
    expect(readsOf(scene, path)).toBe(0)
    expect((await scene.events(shop)).every(({ status }) => status === 'done')).toBe(true)
    await expectMirrored(scene, shop, 'customers', id)
  })

  it('can arrive out of order and repeatedly: an older version never wins (E8)', async () => {
    const { shop, id, updates } = await heldUpdates(3)
    for (const event of [...updates.toReversed(), ...updates]) {
      await scene.fake.control.deliver(event)
      await scene.drain()
      expect((await storedRow(scene, shop, 'customers', id))?.['name']).toBe('Ada 3')
    }
    expect(await scene.events(shop)).toHaveLength(4)
  })

  it('leave it deleted if its creation event arrives last (E9)', async () => {
    const shop = await scene.openWiredShop()
    scene.fake.control.pause()
    const stripe = scene.stripeOf(shop)
    const { id } = await stripe.coupons.create({ percent_off: 10 })
    await stripe.coupons.del(id)
    for (const event of eventIds(shop).toReversed()) {
      await scene.fake.control.deliver(event)
      await scene.drain()
      expect((await storedRow(scene, shop, 'coupons', id))?.deleted_at).not.toBeNull()
    }
    expect((await scene.events(shop)).map(({ type }) => type)).toEqual([
      'coupon.deleted',
      'coupon.created',
    ])
  })

  it('fetch the objects that it refers to if the mirror does not have them (E12)', async () => {
    const shop = await scene.openWiredShop()
    scene.fake.control.pause()
    const stripe = scene.stripeOf(shop)
    const customer = await stripe.customers.create({ name: 'Ada' })
    const source = await stripe.customers.createSource(customer.id, { source: 'tok_visa' })
    const price = await stripe.prices.create({
      currency: 'eur',
      unit_amount: 900,
      recurring: { interval: 'month' },
      product_data: { name: 'Membership' },
    })
    const { id } = await stripe.subscriptions.create({
      customer: customer.id,
      items: [{ price: price.id }],
    })
    const [event] = eventIds(shop, 'customer.subscription.created')
    await scene.fake.control.deliver(event ?? '')
    await scene.drain()
    await expectMirrored(scene, shop, 'subscriptions', id)
    await expectMirrored(scene, shop, 'customers', customer.id)
    await expectMirrored(scene, shop, 'prices', price.id)
    await expectMirrored(scene, shop, 'products', idOf(price.product))
    expect(await storedRow(scene, shop, 'payment-methods', source.id)).toBeUndefined()
  })
})

describe('an object that cannot be fetched', () => {
  it('is retried later, and then stored', async () => {
    const { shop, id, path, updates } = await heldUpdates(1)
    const trouble = { method: 'GET', path, times: 'always' } as const
    scene.fake.control.injectFault({ ...trouble, action: { kind: 'error', status: 503 } })
    await scene.fake.control.deliverInOrder(updates)
    await scene.drain()
    const last = async () => (await scene.events(shop)).at(-1)
    expect(await last()).toMatchObject({
      status: 'pending',
      attempts: 1,
      last_error: expect.stringMatching(/^mirror: stripe_failed: /),
    })
    scene.fake.control.clearFaults()
    await scene.makeDue()
    await scene.drain()
    expect(await last()).toMatchObject({ status: 'done', attempts: 2, last_error: null })
    await expectMirrored(scene, shop, 'customers', id)
  })

  it('fails immediately if Stripe refuses, with Stripe’s message, and can be replayed', async () => {
    const { shop, id, updates } = await heldUpdates(2)
    scene.fake.control.injectFault({
      path: '/v1/customers/*',
      times: 'always',
      action: { kind: 'refuse', status: 400 },
    })
    await scene.fake.control.deliverInOrder(updates)
    await scene.drain()
    type Listed = { data: { id: string; status: string; last_error: string; attempts: number }[] }
    const { body } = await scene.request<Listed>('GET', `${shop.path}/stripe/events?status=failed`)
    expect(body.data).toHaveLength(2)
    for (const event of body.data) {
      expect(event.last_error).toMatch(/^mirror: stripe_refused: \w/)
      expect(event.attempts).toBe(1)
    }
    scene.fake.control.clearFaults()
    for (const { id: event } of body.data) {
      const url = `${shop.path}/stripe/events/${event}/replay`
      expect((await scene.request('POST', url)).status).toBe(200)
    }
    await scene.drain()
    expect((await scene.events(shop)).every(({ status }) => status === 'done')).toBe(true)
    await expectMirrored(scene, shop, 'customers', id)
  })

  it('does not block the object that refers to it', async () => {
    const shop = await scene.openWiredShop()
    const stripe = scene.stripeOf(shop)
    scene.fake.control.pause()
    const coupon = await stripe.coupons.create({ percent_off: 10 })
    const code = await stripe.promotionCodes.create({
      promotion: { type: 'coupon', coupon: coupon.id },
    })
    scene.fake.control.injectFault({
      method: 'GET',
      path: '/v1/coupons/*',
      times: 'always',
      action: { kind: 'error', status: 503 },
    })
    scene.log.length = 0
    await scene.fake.control.deliverInOrder(eventIds(shop, 'promotion_code.created'))
    await scene.drain()
    expect(await scene.events(shop)).toMatchObject([{ status: 'done' }])
    await expectMirrored(scene, shop, 'promotion-codes', code.id)
    expect(scene.log.filter((line) => line.includes('could not mirror an object'))).toHaveLength(1)
  })

  it('is not stored if it belongs to another conference', async () => {
    const shop = await scene.openWiredShop()
    scene.fake.control.pause()
    const stripe = scene.stripeOf(shop)
    const metadata = { conference_id: 'conf_theirs' }
    const { id } = await stripe.customers.create({ name: 'Eve', metadata })
    await scene.post(shop, eventOf('customer.updated', { id, object: 'customer' }))
    await scene.drain()
    expect(await scene.events(shop)).toMatchObject([{ status: 'ignored', attempts: 1 }])
    expect(await storedRow(scene, shop, 'customers', id)).toBeUndefined()
  })
})

describe('a replay', () => {
  it('fetches the object again, even if its row is new', async () => {
    const { shop, stripe, id } = await heldUpdates(1)
    const [created] = await scene.events(shop)
    await stripe.customers.update(id, { name: 'Grace' })
    const url = `${shop.path}/stripe/events/${created?.id}/replay`
    expect((await scene.request('POST', url)).status).toBe(200)
    await scene.drain()
    expect((await storedRow(scene, shop, 'customers', id))?.['name']).toBe('Grace')
  })

  it('of an event of a purchase updates the purchase and the mirror', async () => {
    const shop = await scene.openWiredShop()
    const { id, session } = await scene.paidOrder(shop)
    const find = async () =>
      (await scene.events(shop)).find(({ type }) => type === 'checkout.session.completed')
    const event = await find()
    expect(event).toMatchObject({ status: 'done', lane: 'purchase', purchase_id: id })
    await scene.rows(`update stripe_events set lane = 'mirror' where id = $1`, [event?.id])
    scene.fake.control.clearRequests()
    await scene.request('POST', `${shop.path}/stripe/events/${event?.id}/replay`)
    expect(await find()).toMatchObject({ status: 'pending', lane: 'purchase' })
    await scene.drain()
    expect(await find()).toMatchObject({ status: 'done', purchase_id: id })
    expect(readsOf(scene, `/v1/checkout/sessions/${session}`)).toBe(1)
    await expectMirrored(scene, shop, 'checkout-sessions', session)
  })
})

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Lane } from '../../src/stripe-events/classify-event.ts'
import { createEventWorker, type EventWorker } from '../../src/stripe-events/event-worker.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { expectMirrored, storedRow } from './expect-mirrored.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

// A request without an answer must end within the test.
const scene = useSyncScene({ STRIPE_TIMEOUT_SECONDS: '8' })

const workers: EventWorker[] = []
beforeEach(() => scene.rows('delete from stripe_events'))
afterEach(async () => {
  scene.fake.control.clearFaults()
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
})

function startWorker(lane: Lane): void {
  const worker = createEventWorker({ ...scene.deps, leaseSeconds: 60, lane })
  workers.push(worker)
  worker.start()
}

/** Handles the purchase lane until it is empty. */
async function workOnPurchases(): Promise<void> {
  await scene.fake.control.waitForDeliveries()
  while ((await scene.workOn('purchase')) > 0);
}

const reads = () => scene.fake.control.requests({ method: 'GET' }).map(({ path }) => path)

const listed = (shop: WiredShop, kind: string) =>
  scene.fake.control.list(shop.stripeKey, kind).map(({ id }) => id)

const ofLane = async (shop: WiredShop, lane: Lane) =>
  (await scene.events(shop)).filter((event) => event.lane === lane)

describe('an object that is fetched for a purchase', () => {
  it('is in the mirror without another request', async () => {
    const shop = await scene.openWiredShop()
    const { session, now } = await scene.order(shop)
    scene.fake.control.pay(session)
    scene.fake.control.clearRequests()
    await workOnPurchases()
    expect((await now()).status).toBe('PAID')
    const [intent = ''] = listed(shop, 'payment_intent')
    const forPurchase = reads()
    expect(forPurchase.toSorted()).toEqual([
      `/v1/checkout/sessions/${session}`,
      '/v1/disputes',
      `/v1/payment_intents/${intent}`,
      '/v1/refunds',
    ])
    await expectMirrored(scene, shop, 'checkout-sessions', session)
    await expectMirrored(scene, shop, 'payment-intents', intent)
    expect((await ofLane(shop, 'purchase')).map(({ status }) => status)).toEqual(['done', 'done'])

    scene.fake.control.clearRequests()
    await scene.drain()
    // Only the mirror fetches the charge and its balance transaction.
    const [charge] = listed(shop, 'charge')
    const [entry] = listed(shop, 'balance_transaction')
    expect(reads()).toEqual([`/v1/charges/${charge}`, `/v1/balance_transactions/${entry}`])
    expect((await scene.events(shop)).every(({ status }) => status === 'done')).toBe(true)
  })

  it('is also stored for refunds and disputes; the mirror fetches the rest', async () => {
    const shop = await scene.openWiredShop()
    const { id, session } = await scene.paidOrder(shop)
    scene.fake.control.refund(session, { amount: 3_000 })
    scene.fake.control.dispute(session)
    await workOnPurchases()
    const [refund = ''] = listed(shop, 'refund')
    const [dispute = ''] = listed(shop, 'dispute')
    await expectMirrored(scene, shop, 'refunds', refund)
    await expectMirrored(scene, shop, 'disputes', dispute)
    const waiting = (await ofLane(shop, 'mirror')).filter(({ status }) => status === 'pending')
    expect(waiting.map(({ type }) => type)).toContain('charge.refunded')
    for (const event of waiting.filter(({ type }) => type === 'charge.refunded')) {
      expect(event).toMatchObject({ purchase_id: id, attempts: 0 })
    }

    scene.fake.control.clearRequests()
    await scene.drain()
    const again = [`/v1/refunds/${refund}`, `/v1/disputes/${dispute}`]
    expect(reads().filter((path) => again.includes(path))).toEqual([])
    const [charge = ''] = listed(shop, 'charge')
    await expectMirrored(scene, shop, 'charges', charge)
    const row = await storedRow(scene, shop, 'refunds', refund)
    await expectMirrored(scene, shop, 'balance-transactions', String(row?.['balance_transaction']))
    expect((await scene.events(shop)).every(({ status }) => status === 'done')).toBe(true)
  })

  it('is stored also if staff reconcile the purchase', async () => {
    const shop = await scene.openWiredShop()
    scene.fake.control.injectWebhookFault({ kind: 'drop' })
    const { id, session } = await scene.order(shop)
    scene.fake.control.pay(session)
    expect((await shop.act(id, 'reconcile')).body.status).toBe('PAID')
    await expectMirrored(scene, shop, 'checkout-sessions', session)
    await expectMirrored(scene, shop, 'payment-intents', listed(shop, 'payment_intent')[0] ?? '')
  })
})

describe('a purchase is PAID', () => {
  it('while the mirror waits because Stripe limits the rate of an account', async () => {
    const [busy, shop] = [await scene.openWiredShop(), await scene.openWiredShop()]
    scene.fake.control.injectFault({
      method: 'GET',
      path: '/v1/customers/*',
      times: 'always',
      action: { kind: 'rate_limit', retry_after_seconds: 3_600 },
    })
    for (const each of [busy, shop]) {
      const stripe = scene.stripeOf(each)
      for (let i = 0; i < 6; i += 1) await stripe.customers.create({ name: `Ada ${i}` })
    }
    await scene.fake.control.waitForDeliveries()
    startWorker('mirror')
    const limited = () =>
      scene.fake.control.requests({ method: 'GET' }).filter(({ status }) => status === 429).length
    await expect.poll(limited, POLL_OPTIONS).toBeGreaterThan(1)
    startWorker('purchase')
    const { session, now } = await scene.order(shop)
    scene.fake.control.pay(session)
    await expect.poll(async () => (await now()).status, POLL_OPTIONS).toBe('PAID')
    const waiting = (await ofLane(shop, 'mirror')).filter(({ status }) => status === 'pending')
    expect(waiting.length).toBeGreaterThanOrEqual(6)
    // The worker stops without waiting for the hour, and the attempts do not count.
    await Promise.all(workers.splice(0).map((worker) => worker.stop()))
    const left = (await scene.events(shop)).filter(({ status }) => status === 'pending')
    expect(new Set(left.map(({ attempts }) => attempts))).toEqual(new Set([0]))
  })

  it('and the mirror follows, while two other accounts wait for their rate limits (issue 8, line 19)', async () => {
    const busy = [await scene.openWiredShop(), await scene.openWiredShop()]
    const shop = await scene.openWiredShop()
    for (const each of busy) {
      const { id: account } = await scene.stripeOf(each).accounts.retrieveCurrent()
      scene.fake.control.injectFault({
        account,
        method: 'GET',
        path: '/v1/customers/*',
        times: 'always',
        action: { kind: 'rate_limit', retry_after_seconds: 3_600 },
      })
      for (let i = 0; i < 6; i += 1)
        await scene.stripeOf(each).customers.create({ name: `Ada ${i}` })
    }
    const { id } = await scene.stripeOf(shop).customers.create({ name: 'Grace' })
    await scene.fake.control.waitForDeliveries()
    startWorker('mirror')
    const isMirrored = async () => (await storedRow(scene, shop, 'customers', id)) !== undefined
    await expect.poll(isMirrored, POLL_OPTIONS).toBe(true)
    // The others are due again when the hour is over, with all of their attempts.
    const waiting = () =>
      scene.rows<{ attempts: number; hour: boolean; count: number }>(
        `select attempts, next_attempt_at > now() + interval '50 minutes' as hour, count(*)::int
         from stripe_events where status = 'pending' and lane = 'mirror' group by 1, 2`,
      )
    await expect.poll(waiting, POLL_OPTIONS).toEqual([{ attempts: 0, hour: true, count: 12 }])
  })

  it('while the requests of the mirror get no answer', async () => {
    const shop = await scene.openWiredShop()
    const { id } = await scene.stripeOf(shop).customers.create({ name: 'Ada' })
    const hang = { kind: 'hang' } as const
    scene.fake.control.injectFault({ method: 'GET', path: '/v1/customers/*', action: hang })
    await scene.fake.control.waitForDeliveries()
    startWorker('mirror')
    const asked = () => scene.fake.control.requests({ path: `/v1/customers/${id}` }).length
    await expect.poll(asked, POLL_OPTIONS).toBe(1)
    startWorker('purchase')
    const { session, now } = await scene.order(shop)
    scene.fake.control.pay(session)
    await expect.poll(async () => (await now()).status, POLL_OPTIONS).toBe('PAID')
    expect(await storedRow(scene, shop, 'customers', id)).toBeUndefined()
  })
})

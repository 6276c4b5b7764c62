import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { createMirrorFeed } from '../../src/mirror/mirror-feed.ts'
import { AppError } from '../../src/shared/errors.ts'
import { createStripePaymentGateway } from '../../src/stripe/stripe-payment-gateway.ts'
import { claimEvents } from '../../src/stripe-events/claim-events.ts'
import { groupByObject, groupByPurchase } from '../../src/stripe-events/group-events.ts'
import { processEvents } from '../../src/stripe-events/process-events.ts'
import { processMirrorEvents } from '../../src/stripe-events/process-mirror-events.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { expectMirrored, storedRow } from './expect-mirrored.ts'
import { useSyncScene } from './sync-scene.ts'

const scene = useSyncScene()

const claim = (lane: 'purchase' | 'mirror') =>
  claimEvents(scene.db, { lane, limit: 50, leaseSeconds: 60 })

/** Locks a table exclusively until released. */
async function lockTable(table: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: scene.connectionString })
  await client.connect()
  await client.query('begin')
  await client.query(`lock table ${table} in access exclusive mode`)
  return () => client.end()
}

describe('a purchase is PAID', () => {
  it('while a table of the mirror is locked', async () => {
    const shop = await scene.openWiredShop()
    const { session, now } = await scene.order(shop)
    scene.fake.control.pay(session)
    await scene.fake.control.waitForDeliveries()
    const unlock = await lockTable('stripe.payment_intents')
    try {
      while ((await scene.workOn('purchase')) > 0);
      expect(await now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
      expect(scene.log.join('\n')).toContain('best-effort work skipped')
    } finally {
      await unlock()
    }
    await scene.drain()
    for (const { id } of scene.fake.control.list(shop.stripeKey, 'payment_intent')) {
      await expectMirrored(scene, shop, 'payment-intents', id)
    }
    await expectMirrored(scene, shop, 'checkout-sessions', session)
    expect((await scene.events(shop)).every(({ status }) => status === 'done')).toBe(true)
  })

  it('while Stripe refuses the key of the mirror', async () => {
    const shop = await scene.openWiredShop()
    const refused = new AppError('stripe_refused', 'This key may not read customers.')
    const background = () => Promise.reject(refused)
    const clients = { ...scene.deps.clients, background }
    const mirrorFeed = createMirrorFeed({ ...scene.deps, clients })
    const gateway = createStripePaymentGateway(clients, scene.deps.logger, mirrorFeed)
    const purchases = purchaseService(scene.db, gateway)
    const deps = { ...scene.deps, clients, mirrorFeed, purchases }
    const { session, now } = await scene.order(shop)
    scene.fake.control.pay(session)
    await scene.fake.control.waitForDeliveries()
    for (const group of groupByPurchase(await claim('purchase'))) await processEvents(deps, group)
    for (const group of groupByObject(await claim('mirror'))) await processMirrorEvents(deps, group)
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    // Objects fetched for the purchase are stored without another fetch.
    await expectMirrored(scene, shop, 'checkout-sessions', session)
    const failed = (await scene.events(shop)).filter(({ status }) => status === 'failed')
    for (const { lane, last_error, attempts } of failed) {
      expect({ lane, last_error, attempts }).toEqual({
        lane: 'mirror',
        last_error: 'mirror: stripe_refused: This key may not read customers.',
        attempts: 1,
      })
    }
    expect(failed.length).toBeGreaterThan(0)
  })

  it('while tables of the mirror are missing, and its events are retried', async () => {
    const shop = await scene.openWiredShop()
    await scene.rows('alter table stripe.payment_intents rename to gone')
    await scene.rows('alter table stripe.checkout_sessions rename to gone_too')
    const { id, session, now } = await scene.paidOrder(shop)
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    scene.fake.control.refund(session, { amount: 3_000 })
    await scene.settle()
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { active: 7 } })
    const stuck = (await scene.events(shop)).filter(({ status }) => status === 'pending')
    expect(stuck.map(({ type }) => type)).toContain('checkout.session.completed')
    for (const event of stuck) {
      expect(event).toMatchObject({ lane: 'mirror', last_error: 'mirror: database error 42P01' })
    }
    expect(stuck.find(({ type }) => type.startsWith('checkout'))?.purchase_id).toBe(id)

    await scene.rows('alter table stripe.gone rename to payment_intents')
    await scene.rows('alter table stripe.gone_too rename to checkout_sessions')
    await scene.makeDue()
    await scene.drain()
    expect((await scene.events(shop)).every(({ status }) => status === 'done')).toBe(true)
    await expectMirrored(scene, shop, 'checkout-sessions', session)
    expect(await storedRow(scene, shop, 'checkout-sessions', session)).toMatchObject({
      payment_status: 'paid',
    })
  })
})

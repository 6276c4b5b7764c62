import { afterEach, describe, expect, it } from 'vitest'
import { withSystem } from '../../src/db/tenant-scope.ts'
import { claimEvents, MAX_ATTEMPTS } from '../../src/stripe-events/claim-events.ts'
import { groupByPurchase } from '../../src/stripe-events/group-events.ts'
import { processEvents } from '../../src/stripe-events/process-events.ts'
import { sweepFailedEvents } from '../../src/stripe-events/retry-events.ts'
import { eventOf, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

afterEach(() => app.fake.control.clearFaults())

/** The events of the shop's account, in the order in which Stripe created them. */
const stripeEvents = (shop: WiredShop, type = '*') =>
  app.fake.control.events({ account: shop.stripeKey, type })

describe('an event whose processing fails', () => {
  it('keeps its error, is retried later and then succeeds (D2, E2, F11)', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    app.fake.control.injectFault({
      path: '/v1/payment_intents/*',
      times: 'always',
      action: { kind: 'error', status: 503 },
    })
    app.fake.control.pay(made.session)
    await app.fake.control.waitForDeliveries()
    await app.workOn('purchase')
    const waiting = await app.rows<{ status: string; last_error: string; wait: number }>(
      `select status, attempts, last_error, lease_until,
         extract(epoch from next_attempt_at - now())::float8 as wait
       from stripe_events where conference_id = $1 and lane = 'purchase'`,
      [shop.conference],
    )
    expect(waiting.length).toBeGreaterThan(0)
    for (const row of waiting) {
      expect(row).toMatchObject({ status: 'pending', attempts: 1, lease_until: null })
      expect(row.last_error).toMatch(/^stripe_failed: /)
      expect(row.wait).toBeGreaterThan(0)
      expect(row.wait).toBeLessThanOrEqual(2)
    }
    expect(await made.now()).toMatchObject({ status: 'PROCESSING' })
    app.fake.control.clearFaults()
    await app.makeDue()
    await app.drain()
    expect(await made.now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    expect((await app.events(shop)).every(({ last_error }) => last_error === null)).toBe(true)
  })

  it('waits longer after each attempt, at most 15 minutes, or as long as Stripe asks', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    const waits: number[] = []
    app.fake.control.injectFault({
      path: '/v1/payment_intents/*',
      times: 'always',
      action: { kind: 'rate_limit', retry_after_seconds: 6 },
    })
    app.fake.control.injectWebhookFault({ kind: 'drop' })
    app.fake.control.pay(made.session)
    const [event] = stripeEvents(shop, 'payment_intent.succeeded')
    await app.fake.control.deliver(event?.id ?? '')
    for (const tried of [0, 1, 3, 4, 9, 15]) {
      await app.rows(`update stripe_events set attempts = $1 where id = $2`, [tried, event?.id])
      await app.makeDue()
      await app.drain()
      const [row] = await app.rows<{ wait: number }>(
        `select extract(epoch from next_attempt_at - now())::float8 as wait from stripe_events
         where id = $1`,
        [event?.id],
      )
      waits.push(Math.ceil(row?.wait ?? 0))
    }
    expect(waits).toEqual([6, 6, 8, 16, 512, 900])
  })

  it('is failed after the last attempt: logged, counted, and done after a replay (D2)', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    app.fake.control.injectFault({
      path: '/v1/payment_intents/*',
      times: 'always',
      action: { kind: 'error', status: 503 },
    })
    app.fake.control.pay(made.session)
    await app.fake.control.waitForDeliveries()
    await app.rows(`update stripe_events set attempts = $1 where status = 'pending'`, [
      MAX_ATTEMPTS - 1,
    ])
    app.log.length = 0
    app.counted.length = 0
    await app.drain()
    const failed = (await app.events(shop)).filter(({ status }) => status === 'failed')
    expect(failed.length).toBeGreaterThan(0)
    expect(failed.every(({ attempts }) => attempts === MAX_ATTEMPTS)).toBe(true)
    expect(
      app.log.filter((line) => line.includes('event failed on its last attempt')),
    ).toHaveLength(failed.length)
    expect(app.counted.filter((line) => line === 'handled failed')).toHaveLength(failed.length)
    expect((await made.now()).status).toBe('PROCESSING')

    app.fake.control.clearFaults()
    for (const { id } of failed) {
      const url = `${shop.path}/stripe/events/${id}/replay`
      expect((await app.request('POST', url)).status).toBe(200)
    }
    await app.drain()
    expect(await made.now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
  })

  it('is retried by the sweep when Stripe was away longer than its attempts (issue 8, line 13)', async () => {
    const shop = await app.openWiredShop()
    const order = await app.paidOrder(shop)
    const outage = () =>
      app.fake.control.injectFault({ times: 'always', action: { kind: 'error', status: 503 } })
    const failedFor = (minutes: number) =>
      app.rows(
        `update stripe_events set finished_at = now() - make_interval(mins => $1)
         where status = 'failed'`,
        [minutes],
      )
    const sweep = () => withSystem(app.db, 'claim-events', (trx) => sweepFailedEvents(trx, 120))
    outage()
    app.fake.control.refund(order.session)
    await app.fake.control.waitForDeliveries()
    // Two and a half hours later, the last attempt fails.
    await app.rows(
      `update stripe_events set attempts = $1, received_at = now() - interval '3 hours'
       where status = 'pending'`,
      [MAX_ATTEMPTS - 1],
    )
    await app.drain()
    await failedFor(30)
    expect((await order.now()).status).toBe('PAID')
    const failed = (await app.events(shop)).filter(({ status }) => status === 'failed')
    expect(failed.length).toBeGreaterThan(0)
    // A quarter of two and a half hours is more than half an hour.
    expect(await sweep()).toBe(0)
    await failedFor(40)
    expect(await sweep()).toBe(failed.length)
    await app.drain()
    // Still away: one attempt each.
    const again = (await app.events(shop)).filter(({ status }) => status === 'failed')
    expect(again.map(({ attempts }) => attempts)).toEqual(failed.map(() => MAX_ATTEMPTS))
    app.fake.control.clearFaults()
    await failedFor(60)
    expect(await sweep()).toBe(failed.length)
    await app.drain()
    expect((await order.now()).status).toBe('REFUNDED')
    expect((await app.events(shop)).every(({ status }) => status === 'done')).toBe(true)
    expect(await sweep()).toBe(0)
  })

  it('is failed when its workers died at every attempt', async () => {
    const shop = await app.openWiredShop()
    await app.post(shop, eventOf('checkout.session.expired', { id: 'cs_1' }))
    await app.rows(`update stripe_events set attempts = $1 where status = 'pending'`, [
      MAX_ATTEMPTS,
    ])
    await app.drain()
    expect(await app.events(shop)).toMatchObject([
      { status: 'failed', last_error: expect.stringContaining('died') },
    ])
  })

  it('does not delay the events of other purchases', async () => {
    const [broken, healthy] = [await app.openWiredShop(), await app.openWiredShop()]
    const [one, two] = [await app.order(broken), await app.order(healthy)]
    app.fake.control.revokeKey(broken.stripeKey)
    for (const { session } of [one, two]) app.fake.control.pay(session)
    await app.settle()
    expect((await two.now()).status).toBe('PAID')
    const rows = await app.events(broken)
    expect(rows.filter(({ status }) => status === 'pending').length).toBeGreaterThan(0)
    for (const { last_error } of rows) expect(last_error ?? '').not.toContain(broken.stripeKey)
  })

  it('belongs to the worker that claimed it in the meantime', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    app.fake.control.pay(made.session)
    await app.fake.control.waitForDeliveries()
    const claimed = await claimEvents(app.db, { lane: 'purchase', limit: 50, leaseSeconds: 60 })
    await app.makeDue()
    await claimEvents(app.db, { lane: 'purchase', limit: 50, leaseSeconds: 60 })
    for (const group of groupByPurchase(claimed)) await processEvents(app.deps, group)
    expect((await made.now()).status).toBe('PROCESSING')
    expect((await app.events(shop)).some(({ status }) => status === 'done')).toBe(false)
    await app.makeDue()
    await app.drain()
    expect((await made.now()).status).toBe('PAID')
  })
})

import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { createEventWorker, type EventWorker } from '../../src/stripe-events/event-worker.ts'
import type { ProcessDeps } from '../../src/stripe-events/process-events.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { withAdminClient } from '../support/test-connections.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { eventOf, type Order, useInboxApp } from './inbox-app.ts'

const app = useInboxApp()

const workers: EventWorker[] = []
afterEach(async () => {
  app.fake.control.clearFaults()
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
})

function startWorker(more: Partial<ProcessDeps> & { leaseSeconds?: number } = {}): EventWorker {
  const worker = createEventWorker({
    ...app.deps,
    leaseSeconds: 60,
    ...more,
  })
  workers.push(worker)
  worker.start()
  return worker
}

const becomes = (order: Order, status: string) =>
  expect.poll(async () => (await order.now()).status, POLL_OPTIONS).toBe(status)

/** A gateway whose fetches wait until they are released. */
function heldGateway() {
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const fetches: string[] = []
  const gateway = {
    ...app.deps.gateway,
    fetchSnapshot: async (query: Parameters<typeof app.deps.gateway.fetchSnapshot>[0]) => {
      fetches.push(query.owner.id)
      await held
      return app.deps.gateway.fetchSnapshot(query)
    },
  }
  return { purchases: purchaseService(app.db, gateway), fetches, release: () => release() }
}

describe('a worker', () => {
  it('processes the events of webhooks', async () => {
    const shop = await app.openWiredShop()
    startWorker()
    const order = await app.order(shop)
    app.fake.control.pay(order.session)
    await becomes(order, 'PAID')
    app.fake.control.refund(order.session)
    await becomes(order, 'REFUNDED')
    expect(await order.now()).toMatchObject({ vouchers: { issued: 10, active: 0 } })
  })

  it('shares the events with other workers, and codes are issued once', async () => {
    const shop = await app.openWiredShop()
    for (let i = 0; i < 3; i += 1) startWorker()
    const orders = await Promise.all(Array.from({ length: 8 }, () => app.order(shop)))
    for (const { session } of orders) app.fake.control.pay(session)
    for (const order of orders) await becomes(order, 'PAID')
    for (const { id } of orders) expect(await shop.codes(id)).toHaveLength(10)
  })

  it('processes a limited number of purchases at the same time, then the others', async () => {
    const shop = await app.openWiredShop()
    const orders = await Promise.all(Array.from({ length: 6 }, () => app.order(shop)))
    for (const { session } of orders) app.fake.control.pay(session)
    await app.fake.control.waitForDeliveries()
    const { purchases, fetches, release } = heldGateway()
    startWorker({ purchases })
    await expect.poll(() => fetches.length, POLL_OPTIONS).toBe(4)
    expect(new Set(fetches).size).toBe(4)
    release()
    for (const order of orders) await becomes(order, 'PAID')
  })

  it('renews its lease while it works', async () => {
    const shop = await app.openWiredShop()
    const order = await app.order(shop)
    app.fake.control.pay(order.session)
    await app.fake.control.waitForDeliveries()
    const { purchases, fetches, release } = heldGateway()
    startWorker({ purchases, leaseSeconds: 1 })
    await expect.poll(() => fetches.length, POLL_OPTIONS).toBeGreaterThan(0)
    const leaseEnd = async () => {
      const [row] = await app.rows<{ until: number }>(
        `select extract(epoch from max(lease_until))::float8 as until from stripe_events
         where conference_id = $1 and status = 'pending'`,
        [shop.conference],
      )
      return row?.until ?? 0
    }
    const first = await leaseEnd()
    // Two leases later, this worker still holds the event, and no other has claimed it.
    await expect.poll(leaseEnd, POLL_OPTIONS).toBeGreaterThan(first + 2)
    const rows = await app.events(shop)
    expect(rows.filter(({ status }) => status === 'pending').length).toBeGreaterThan(0)
    expect(Math.max(...rows.map(({ attempts }) => attempts))).toBe(1)
    release()
    await becomes(order, 'PAID')
  })

  it('that dies is replaced when its lease ends', async () => {
    const shop = await app.openWiredShop()
    const order = await app.order(shop)
    app.fake.control.pay(order.session)
    await app.fake.control.waitForDeliveries()
    // The state after kill -9: claimed for one second, and not renewed.
    await app.rows(
      `update stripe_events set attempts = 1, lease_until = now() + interval '1 second',
         next_attempt_at = now() + interval '1 second' where status = 'pending'`,
    )
    startWorker({ leaseSeconds: 1 })
    await becomes(order, 'PAID')
    const done = (await app.events(shop)).filter(({ status }) => status === 'done')
    expect(done.every(({ attempts }) => attempts === 2)).toBe(true)
  })

  it('that is stopped finishes its running work and immediately releases the rest', async () => {
    const shop = await app.openWiredShop()
    const orders = await Promise.all(Array.from({ length: 6 }, () => app.order(shop)))
    for (const { session } of orders) app.fake.control.pay(session)
    await app.fake.control.waitForDeliveries()
    const { purchases, fetches, release } = heldGateway()
    const worker = startWorker({ purchases })
    await expect.poll(() => fetches.length, POLL_OPTIONS).toBe(4)
    const stopped = worker.stop()
    const back = async () =>
      (await app.events(shop)).filter((e) => e.status === 'pending' && e.attempts === 0).length
    await expect.poll(back, POLL_OPTIONS).toBeGreaterThan(0)
    release()
    await stopped
    const states = await Promise.all(orders.map(({ now }) => now()))
    expect(states.filter(({ status }) => status === 'PAID')).toHaveLength(4)
    expect(states.filter(({ status }) => status === 'PROCESSING')).toHaveLength(2)
    expect(fetches).toHaveLength(4)
    startWorker()
    for (const order of orders) await becomes(order, 'PAID')
  })

  it('survives a database that closes all connections', async () => {
    const shop = await app.openWiredShop()
    startWorker()
    const first = await app.order(shop)
    app.fake.control.pay(first.session)
    await becomes(first, 'PAID')
    const url = new URL(app.connectionString)
    await withAdminClient(url.href, (client) =>
      client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and usename = current_user
           and pid <> pg_backend_pid()`,
      ),
    )
    const second = await expect
      .poll(() => app.order(shop).catch(() => null), POLL_OPTIONS)
      .not.toBeNull()
      .then(() => app.order(shop))
    app.fake.control.pay(second.session)
    await becomes(second, 'PAID')
  })

  it('finds by polling the events whose notification was lost', async () => {
    const shop = await app.openWiredShop()
    startWorker()
    const id = `evt_${randomBytes(8).toString('hex')}`
    const event = eventOf('payment_intent.succeeded', { id: 'pi_1', object: 'payment_intent' })
    await app.rows(
      `insert into stripe_events
         (conference_id, id, type, livemode, body, source, created_at_stripe)
       values ($1, $2, $3, false, $4, 'webhook', now())`,
      [shop.conference, id, event['type'], Buffer.from(JSON.stringify(event))],
    )
    const status = async () => (await app.events(shop))[0]?.status
    await expect.poll(status, POLL_OPTIONS).toBe('ignored')
  })
})

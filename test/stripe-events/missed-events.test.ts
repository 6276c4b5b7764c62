import { afterEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { connect } from '../../src/db/connect.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { createStripeClients } from '../../src/stripe/stripe-client.ts'
import { createEventInbox } from '../../src/stripe-events/event-inbox.ts'
import { findMissedEvents, type MissedEvents } from '../../src/stripe-events/missed-events.ts'
import { TEST_ENCRYPTION_KEY } from '../support/test-app.ts'
import { useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

afterEach(() => app.fake.control.clearFaults())

function find(shop: { conference: string }, threshold = 20): Promise<MissedEvents | null> {
  const inbox = createEventInbox({ db: app.db, logger: app.deps.logger })
  const config = { pendingEventsThreshold: threshold }
  return findMissedEvents({ ...app.deps, inbox, config }, shop.conference)
}

const lose = () => app.fake.control.injectWebhookFault({ kind: 'drop' })

const LISTED = '/v1/events'
const ranges = () =>
  app.fake.control
    .requests({ path: LISTED })
    .map(({ params }) => Number((params['created'] as { gte: string }).gte))

async function times(shop: WiredShop) {
  const [row] = await app.rows<{ cursor: number | null; key: number }>(
    `select extract(epoch from events_checked_until)::float8 as cursor,
       extract(epoch from stripe_key_set_at)::float8 as key
     from conferences where id = $1`,
    [shop.conference],
  )
  if (row === undefined) throw new Error('no conference')
  return row
}

describe('events that did not arrive by webhook', () => {
  it('are found, stored and processed like any other', async () => {
    const shop = await app.openWiredShop()
    lose()
    const order = await app.order(shop)
    app.fake.control.pay(order.session)
    app.fake.control.refund(order.session, { amount: 2_000 })
    await app.settle()
    expect((await order.now()).status).toBe('PROCESSING')
    app.counted.length = 0
    const found = await find(shop)
    expect(found?.missing).toBeGreaterThanOrEqual(4)
    expect(app.counted).toContain(`missed ${found?.missing}`)
    await app.drain()
    expect(await order.now()).toMatchObject({ status: 'PAID', vouchers: { active: 8 } })
    expect((await app.events(shop)).every(({ source }) => source === 'missed')).toBe(true)
  })

  it('are none when every webhook arrived', async () => {
    const shop = await app.openWiredShop()
    await app.paidOrder(shop)
    const before = await app.events(shop)
    expect(await find(shop)).toEqual({ listed: before.length, missing: 0, ignored: 0 })
    expect(await app.events(shop)).toEqual(before)
  })

  it('are searched since the key was stored, later since one hour before the last run', async () => {
    const shop = await app.openWiredShop()
    app.fake.control.clearRequests()
    const { key } = await times(shop)
    await find(shop)
    const { cursor } = await times(shop)
    await find(shop)
    expect(cursor).not.toBeNull()
    expect(ranges()).toEqual([Math.floor(key), Math.floor((cursor ?? 0) - 3_600)])
  })

  it('are found on every page of a long list', async () => {
    const shop = await app.openWiredShop()
    lose()
    const order = await app.order(shop)
    app.fake.control.pay(order.session)
    for (let i = 0; i < 60; i += 1) app.fake.control.refund(order.session, { amount: 10 })
    const total = app.fake.control.events({ account: shop.stripeKey }).length
    expect(total).toBeGreaterThan(100)
    expect(await find(shop)).toMatchObject({ listed: total })
    expect(await app.events(shop)).toHaveLength(total)
    await app.drain()
    expect(await order.now()).toMatchObject({ amount_refunded: 600 })
  })

  it('F13: cause an error log and a mail to the operators only above the threshold', async () => {
    const shop = await app.openWiredShop()
    const levels = () =>
      app.log.map((line) => JSON.parse(line)).filter(({ missing }) => missing !== undefined)
    lose()
    app.log.length = 0
    app.fake.control.pay((await app.order(shop)).session)
    expect(await find(shop, 4)).toMatchObject({ missing: 4 })
    expect(levels()).toMatchObject([{ level: 40 }])
    app.fake.control.pay((await app.order(shop)).session)
    const mails = () =>
      app.rows<{ text: string }>(
        `select payload->>'text' as text from graphile_worker._private_jobs
         where key like 'mail_operators:%' and payload->>'text' like $1`,
        [`%${shop.slug}: %`],
      )
    expect(await mails()).toEqual([])
    expect(await find(shop, 3)).toMatchObject({ missing: 4 })
    expect(levels()).toMatchObject([{ level: 40 }, { level: 50 }])
    expect(await mails()).toMatchObject([{ text: expect.stringContaining(`${shop.slug}: 4`) }])
    // More events are lost, but the operators already have a mail.
    app.fake.control.pay((await app.order(shop)).session)
    expect(await find(shop, 3)).toMatchObject({ missing: 4 })
    expect(await mails()).toHaveLength(1)
  })

  it('do not count as missing when the service has no use for their types', async () => {
    const shop = await app.openWiredShop()
    app.fake.control.injectWebhookFault({ kind: 'drop', types: ['file.created'] })
    await app.paidOrder(shop)
    app.fake.control.put(shop.stripeKey, { id: 'file_1', object: 'file' }, 'file.created')
    expect(await find(shop)).toMatchObject({ missing: 0, ignored: 1 })
    expect(await find(shop)).toMatchObject({ missing: 0, ignored: 0 })
  })

  it('are searched by one run at a time per conference', async () => {
    const [shop, other] = [await app.openWiredShop(), await app.openWiredShop()]
    app.fake.control.injectFault({
      path: LISTED,
      times: 'always',
      action: { kind: 'slow', ms: 300 },
    })
    const runs = await Promise.all([find(shop), find(shop), find(shop), find(other)])
    expect(runs.filter((run) => run === null)).toHaveLength(2)
    expect(runs[3]).not.toBeNull()
    expect(await find(shop)).not.toBeNull()
  })

  it('are found by a process with one connection, which others use meanwhile (issue 8, line 20)', async () => {
    const shop = await app.openWiredShop()
    lose()
    const order = await app.order(shop)
    app.fake.control.pay(order.session)
    await app.settle()
    const db = connect(app.connectionString, { max: 1, acquireTimeoutMs: 3_000 })
    app.fake.control.injectFault({ path: LISTED, times: 1, action: { kind: 'hang' } })
    const inbox = createEventInbox({ db, logger: app.deps.logger })
    const clients = createStripeClients({
      db,
      encryption: createEncryption(TEST_ENCRYPTION_KEY),
      config: loadConfig({ STRIPE_API_BASE: app.fake.url, STRIPE_TIMEOUT_SECONDS: '2' }),
      metrics: noMetrics,
      logger: app.deps.logger,
    })
    const config = { pendingEventsThreshold: 20 }
    const found = findMissedEvents({ ...app.deps, db, clients, inbox, config }, shop.conference)
    const hanging = () =>
      app.fake.control.requests({ path: LISTED }).some((r) => r.fault === 'hang')
    await expect.poll(hanging).toBe(true)
    expect((await db.raw('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect((await found)?.missing).toBeGreaterThanOrEqual(2)
    await db.destroy()
  })

  it('are searched again when the process that searched was killed and its lease ended', async () => {
    const shop = await app.openWiredShop()
    await app.rows(
      `update conferences set events_check_id = 'dead', events_check_lease_until = now() + interval '1 s'
       where id = $1`,
      [shop.conference],
    )
    expect(await find(shop)).toBeNull()
    await app.rows(
      `update conferences set events_check_lease_until = now() - interval '1 s' where id = $1`,
      [shop.conference],
    )
    expect(await find(shop)).not.toBeNull()
  })

  it('are searched again over the same range after Stripe failed', async () => {
    const shop = await app.openWiredShop()
    await find(shop)
    const { cursor } = await times(shop)
    lose()
    app.fake.control.pay((await app.order(shop)).session)
    app.fake.control.injectFault({
      path: LISTED,
      times: 'always',
      action: { kind: 'error', status: 503 },
    })
    await expect(find(shop)).rejects.toMatchObject({ code: 'stripe_failed' })
    expect((await times(shop)).cursor).toBe(cursor)
    app.fake.control.clearFaults()
    expect(await find(shop)).toMatchObject({ missing: 4 })
  })
})

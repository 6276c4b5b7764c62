import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { MAX_ATTEMPTS } from '../../src/stripe-events/claim-events.ts'
import { type InboxApp, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

beforeEach(() => {
  app.log.length = 0
  app.counted.length = 0
})
afterEach(() => app.fake.control.clearFaults())

/** As if the conference had its key for a day: it did not change while the work ran. */
const ageKey = ({ conference }: WiredShop) =>
  app.rows(`update conferences set stripe_key_set_at = now() - interval '1 day' where id = $1`, [
    conference,
  ])

async function openOldShop(): Promise<WiredShop> {
  const shop = await app.openWiredShop()
  await ageKey(shop)
  return shop
}

/** An event that only the mirror uses. */
const changeCustomer = (shop: WiredShop, id: string) =>
  app.fake.control.put(shop.stripeKey, { id, object: 'customer' }, 'customer.updated')

async function workOnAll(times: number): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    await app.makeDue()
    await app.workOn('purchase')
    await app.workOn('mirror')
  }
}

const waitsOf = (inbox: InboxApp, shop: WiredShop) =>
  inbox.rows<{ seconds: number }>(
    `select round(extract(epoch from next_attempt_at - now()))::int as seconds
     from stripe_events where conference_id = $1 and status = 'pending'`,
    [shop.conference],
  )

const operatorMails = (shop: WiredShop) =>
  app.rows<{ text: string }>(
    `select payload->>'subject' as subject, payload->>'text' as text
     from graphile_worker._private_jobs
     where key like 'mail_operators:%' and payload->>'text' like $1`,
    [`%${shop.slug}%`],
  )

const errorLines = () =>
  app.log.map((line) => JSON.parse(line)).filter(({ level }) => Number(level) >= 50)

describe.each([
  ['revoked', 401],
  ['not allowed to read the objects', 403],
] as const)('events of a conference whose Stripe key is %s', (_what, status) => {
  const reject = (shop: WiredShop): (() => void) => {
    if (status === 401) {
      app.fake.control.revokeKey(shop.stripeKey)
      return () => {}
    }
    app.fake.control.injectFault({ times: 'always', action: { kind: 'refuse', status } })
    return () => app.fake.control.clearFaults()
  }

  it('wait for a valid key without using up an attempt, in both lanes (issue 8, line 3)', async () => {
    const shop = await openOldShop()
    const order = await app.paidOrder(shop)
    const freshKey = app.fake.control.createKey(shop.stripeKey)
    app.fake.control.refund(order.session)
    changeCustomer(shop, 'cus_waiting')
    await app.fake.control.waitForDeliveries()
    const repair = reject(shop)
    await workOnAll(MAX_ATTEMPTS + 2)
    const waiting = (await app.events(shop)).filter(({ status }) => status !== 'done')
    expect(new Set(waiting.map(({ lane }) => lane))).toEqual(new Set(['purchase', 'mirror']))
    for (const event of waiting) {
      expect(event).toMatchObject({
        status: 'pending',
        attempts: 0,
        last_error: expect.stringMatching(/^(mirror: )?stripe_key_rejected: /),
      })
    }
    expect((await order.now()).status).toBe('PAID')
    expect(app.counted).not.toContain('handled failed')

    repair()
    const body = { stripe_secret_key: freshKey }
    expect((await app.request('PATCH', shop.path, { body })).status).toBe(200)
    await app.makeDue()
    await app.drain()
    expect((await order.now()).status).toBe('REFUNDED')
    expect((await app.events(shop)).every(({ status }) => status === 'done')).toBe(true)
  })
})

it('events wait longer while a key stays rejected, at most 15 minutes (issue 8, line 3)', async () => {
  const shop = await openOldShop()
  const order = await app.order(shop)
  app.fake.control.injectWebhookFault({ kind: 'drop' })
  app.fake.control.pay(order.session)
  const [event] = app.fake.control.events({
    account: shop.stripeKey,
    type: 'payment_intent.succeeded',
  })
  await app.fake.control.deliver(event?.id ?? '')
  app.fake.control.revokeKey(shop.stripeKey)
  const waits: number[] = []
  for (const rejectedFor of [0, 20, 100, 3_600]) {
    await app.rows(
      `update conferences
       set stripe_key_rejected_since = now() - make_interval(secs => $2),
         stripe_key_rejected_at = now() - least(make_interval(secs => $2), interval '15 minutes')
       where id = $1 and $2 > 0`,
      [shop.conference, rejectedFor],
    )
    await workOnAll(1)
    waits.push((await waitsOf(app, shop))[0]?.seconds ?? 0)
  }
  expect(waits[0]).toBeLessThanOrEqual(2)
  expect(waits[1]).toBeGreaterThanOrEqual(19)
  expect(waits[2]).toBeGreaterThanOrEqual(99)
  expect(waits[3]).toBe(900)
})

it('a rejected key causes one error line and one mail in six hours (issue 8, line 3)', async () => {
  const shop = await openOldShop()
  const order = await app.order(shop)
  app.fake.control.pay(order.session)
  await app.fake.control.waitForDeliveries()
  app.fake.control.revokeKey(shop.stripeKey)
  await workOnAll(5)
  expect(errorLines()).toMatchObject([{ conference: shop.conference }])
  expect(await operatorMails(shop)).toMatchObject([
    {
      subject: expect.stringContaining(shop.slug),
      text: expect.stringContaining('stripe_key_rejected'),
    },
  ])
  expect(JSON.stringify(await operatorMails(shop))).not.toContain(shop.stripeKey)

  await app.rows(
    `update conferences set stripe_key_alarmed_at = now() - interval '6 hours 1 second'
     where id = $1`,
    [shop.conference],
  )
  await workOnAll(2)
  expect(errorLines()).toHaveLength(2)
  expect(await operatorMails(shop)).toHaveLength(2)
})

it('work that began with the replaced key does not count as a rejection of the new key', async () => {
  const shop = await openOldShop()
  const order = await app.order(shop)
  app.fake.control.pay(order.session)
  await app.fake.control.waitForDeliveries()
  app.fake.control.revokeKey(shop.stripeKey)
  // The key was replaced while the request was in flight.
  await app.rows(`update conferences set stripe_key_set_at = now() where id = $1`, [
    shop.conference,
  ])
  await app.workOn('purchase')
  expect(errorLines()).toEqual([])
  for (const { seconds } of await waitsOf(app, shop)) expect(seconds).toBeLessThanOrEqual(2)
  const rejected = await withTenant(app.db, { conferenceId: shop.conference }, (trx) =>
    trx('conferences').where({ id: shop.conference }).pluck('stripe_key_rejected_at'),
  )
  expect(rejected).toEqual([null])
})

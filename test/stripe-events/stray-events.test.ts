import { afterEach, describe, expect, it } from 'vitest'
import { eventOf, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

afterEach(() => app.fake.control.clearFaults())

/** The events of the shop's account, in the order in which Stripe created them. */
const stripeEvents = (shop: WiredShop, type = '*') =>
  app.fake.control.events({ account: shop.stripeKey, type })

/** This conference's rows of a mirror table, without tombstones. */
const mirrored = (shop: WiredShop, table: string) =>
  app.rows(`select id from stripe.${table} where conference_id = $1 and deleted_at is null`, [
    shop.conference,
  ])

async function withWebhooksHeld<T>(work: () => Promise<T>): Promise<T> {
  app.fake.control.pause()
  try {
    return await work()
  } finally {
    app.fake.control.resume()
  }
}

describe('an event whose data is wrong or foreign', () => {
  it('with another amount issues no codes, because Stripe’s amount counts (D12)', async () => {
    const shop = await app.openWiredShop()
    const { session, now } = await app.order(shop)
    app.fake.control.pay(session, { amount: 1 })
    await app.settle()
    expect(await now()).toMatchObject({
      status: 'PROCESSING',
      vouchers: { issued: 0 },
      flags: [{ code: 'amount_mismatch' }],
    })
    const forged = { id: session, object: 'checkout.session', amount_total: 10_000 }
    await app.post(shop, eventOf('checkout.session.completed', { ...forged, currency: 'eur' }))
    await app.drain()
    expect(await now()).toMatchObject({ status: 'PROCESSING', vouchers: { issued: 0 } })
  })

  it('about a payment that does not exist at Stripe changes nothing', async () => {
    const shop = await app.openWiredShop()
    const { id, session, now } = await app.order(shop)
    const metadata = { purchase_id: id, conference_id: shop.conference, attempt: '1' }
    const paid = { id: session, object: 'checkout.session', payment_status: 'paid', metadata }
    await app.post(shop, eventOf('checkout.session.completed', paid))
    await app.drain()
    expect(await now()).toMatchObject({ status: 'PROCESSING', vouchers: { issued: 0 } })
  })

  it('signed for one conference cannot change another’s purchase (D17)', async () => {
    const [victim, attacker] = [await app.openWiredShop(), await app.openWiredShop()]
    const made = await withWebhooksHeld(async () => {
      const one = await app.order(victim)
      app.fake.control.pay(one.session)
      for (const { id } of stripeEvents(victim)) {
        await app.rows(`delete from stripe_events where id = $1`, [id])
      }
      const hints = { client_reference_id: one.id, metadata: { purchase_id: one.id } }
      const forged = { id: one.session, object: 'checkout.session', ...hints }
      await app.post(attacker, eventOf('checkout.session.completed', forged))
      await app.drain()
      expect((await one.now()).status).toBe('PROCESSING')
      return one
    })
    // The session does not exist in the attacker's Stripe account.
    expect(await app.events(attacker)).toMatchObject([{ status: 'done', lane: 'mirror' }])
    expect(await mirrored(attacker, 'checkout_sessions')).toEqual([])
    await app.settle()
    expect((await made.now()).status).toBe('PAID')
  })

  it('of another conference on the same Stripe account is ignored (D17)', async () => {
    const one = await app.openWiredShop()
    const key = app.fake.control.createKey(one.stripeKey)
    const other = await app.openWiredShop({ stripe_secret_key: key })
    const made = await app.order(one)
    app.fake.control.pay(made.session)
    await app.settle()
    app.fake.control.refund(made.session, { amount: 1_000 })
    await app.settle()
    expect(await made.now()).toMatchObject({ status: 'PAID', vouchers: { active: 9 } })
    const theirs = await app.events(other)
    expect(theirs.map(({ type }) => type)).toContain('refund.created')
    const kept = theirs.filter(({ status }) => status !== 'ignored')
    // A refund names no conference; all events that name one are ignored.
    expect(new Set(kept.map(({ type, status }) => `${type.split('.')[0]} ${status}`))).toEqual(
      new Set(['refund done']),
    )
    for (const table of ['checkout_sessions', 'payment_intents', 'charges']) {
      expect(await mirrored(other, table)).toEqual([])
    }
    expect(await other.get(made.id)).toMatchObject({ status: 404 })
  })

  it('about a payment of no purchase only updates the mirror', async () => {
    const shop = await app.openWiredShop()
    const intent = { id: 'pi_unknown', object: 'payment_intent' }
    await app.post(shop, eventOf('payment_intent.succeeded', intent))
    await app.post(
      shop,
      eventOf('refund.created', { id: 're_1', object: 'refund', payment_intent: 'pi_unknown' }),
    )
    await app.post(shop, eventOf('charge.refunded', { id: 'ch_unknown', object: 'charge' }))
    await app.post(shop, eventOf('refund.created', { id: 're_2', object: 'refund' }))
    await app.post(shop, eventOf('checkout.session.expired', { id: 'cs_unknown' }))
    await app.drain()
    const rows = await app.events(shop)
    expect(Object.fromEntries(rows.map((row) => [row.object_id, row.status]))).toEqual({
      pi_unknown: 'done',
      re_1: 'done',
      ch_unknown: 'done',
      re_2: 'done',
      cs_unknown: 'ignored', // it has no `object` field
    })
    expect(rows.map(({ purchase_id }) => purchase_id)).toEqual(Array(5).fill(null))
    for (const table of ['payment_intents', 'refunds', 'charges', 'checkout_sessions']) {
      expect(await mirrored(shop, table)).toEqual([])
    }
  })
})

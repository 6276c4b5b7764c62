import { readFile } from 'node:fs/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { createNewsletterHook } from '../../docs/examples/coupon-hook.ts'
import { type EventHook, hooksFor, modelAndAction } from '../../src/stripe-events/event-hook.ts'
import { createEventInbox } from '../../src/stripe-events/event-inbox.ts'
import { findMissedEvents } from '../../src/stripe-events/missed-events.ts'
import { eventOf, useInboxApp } from './inbox-app.ts'

const DOCS = new URL('../../docs/', import.meta.url)

/** The calls of this file's hooks; the hook named in `broken` throws. */
const called: { hook: string; id: string; objectId: string | null; status: string | null }[] = []
const published: string[] = []
let broken: string | null = null

const recordingHook = (name: string, on: EventHook['on']): EventHook => ({
  name,
  on,
  async run({ id, objectId, conferenceId }) {
    const status = await statusOf(conferenceId)
    called.push({ hook: name, id, objectId, status })
    if (broken === name) throw new Error('the shop is closed')
  },
})

const app = useInboxApp({}, [
  recordingHook('payouts', { type: 'payout.paid' }),
  recordingHook('files', { model: 'file' }),
  recordingHook('refunds', { model: 'refund', action: 'created' }),
  createNewsletterHook(async (text) => void published.push(text)),
])

async function statusOf(conference: string): Promise<string | null> {
  const rows = await app.rows<{ status: string }>(
    'select status from bulk_purchases where conference_id = $1',
    [conference],
  )
  return rows[0]?.status ?? null
}

afterEach(() => {
  broken = null
  called.length = 0
})

const calledHooks = () => called.map(({ hook }) => hook)

describe('a hook for events', () => {
  it('gets an event that only it wants, once', async () => {
    const shop = await app.openWiredShop()
    const event = eventOf('file.created', { id: 'file_1', object: 'file' })
    await app.post(shop, event)
    await app.post(shop, event)
    await app.post(shop, eventOf('account.updated', { id: 'acct_1', object: 'account' }))
    await app.drain()
    expect(called).toMatchObject([{ hook: 'files', id: event['id'], objectId: 'file_1' }])
    const states = (await app.events(shop)).map(({ type, status }) => `${type} ${status}`)
    expect(states.toSorted()).toEqual(['account.updated ignored', 'file.created done'])
  })

  it('runs once, before the service processes the event', async () => {
    const shop = await app.openWiredShop()
    const order = await app.paidOrder(shop)
    called.length = 0
    app.fake.control.refund(order.session, { amount: 10_000 })
    await app.settle()
    expect(await order.now()).toMatchObject({ status: 'REFUNDED' })
    // The event then moved to the mirror lane, which does not call hooks again.
    expect(called).toMatchObject([{ hook: 'refunds', status: 'PAID' }])
  })

  it('that throws makes the event retry, is named in last_error and delays the purchase', async () => {
    const shop = await app.openWiredShop()
    const order = await app.paidOrder(shop)
    called.length = 0
    broken = 'refunds'
    app.fake.control.refund(order.session, { amount: 10_000 })
    await app.fake.control.waitForDeliveries()
    await app.workOn('purchase')
    const refund = async () =>
      (await app.events(shop)).find(({ type }) => type === 'refund.created')
    expect(await refund()).toMatchObject({
      status: 'pending',
      attempts: 1,
      last_error: 'HookFailed: refunds: Error: the shop is closed',
    })
    broken = null
    await app.makeDue()
    await app.drain()
    expect(await refund()).toMatchObject({ status: 'done', last_error: null })
    expect(calledHooks()).toEqual(['refunds', 'refunds'])
    expect(await order.now()).toMatchObject({ status: 'REFUNDED' })
  })

  it('delays only its own event', async () => {
    const shop = await app.openWiredShop()
    const order = await app.paidOrder(shop)
    broken = 'refunds'
    app.fake.control.refund(order.session, { amount: 10_000 })
    await app.settle()
    // charge.refunded is about the same refund.
    expect(await order.now()).toMatchObject({ status: 'REFUNDED' })
  })

  it('fails its event after 20 attempts; a replay calls it again', async () => {
    const shop = await app.openWiredShop()
    const event = eventOf('file.created', { id: 'file_1', object: 'file' })
    broken = 'files'
    await app.post(shop, event)
    await app.rows('update stripe_events set attempts = 19 where id = $1', [event['id']])
    await app.drain()
    expect(await app.events(shop)).toMatchObject([{ status: 'failed', attempts: 20 }])
    broken = null
    const replay = `${shop.path}/stripe/events/${String(event['id'])}/replay`
    expect((await app.request('POST', replay)).status).toBe(200)
    await app.drain()
    expect(await app.events(shop)).toMatchObject([{ status: 'done' }])
    // A replay by staff calls the hook again although it succeeded before.
    await app.request('POST', replay)
    await app.drain()
    expect(calledHooks().filter((hook) => hook === 'files')).toHaveLength(3)
  })

  it('gets events that did not arrive by webhook', async () => {
    const shop = await app.openWiredShop()
    app.fake.control.injectWebhookFault({ kind: 'drop' })
    app.fake.control.put(shop.stripeKey, { id: 'file_2', object: 'file' }, 'file.created')
    const inbox = createEventInbox({ db: app.db, logger: app.deps.logger })
    const config = { pendingEventsThreshold: 20 }
    const found = await findMissedEvents({ ...app.deps, inbox, config }, shop.conference)
    app.fake.control.clearFaults()
    expect(found).toMatchObject({ missing: 1, ignored: 0 })
    await app.drain()
    // An event that an earlier test failed may be due again by now.
    const ofFiles = called.filter(({ hook }) => hook === 'files')
    expect(ofFiles).toMatchObject([{ objectId: 'file_2' }])
  })

  it('gets model and action from the last dot of the type', () => {
    expect(modelAndAction('coupon.created')).toEqual({ model: 'coupon', action: 'created' })
    expect(modelAndAction('customer.subscription.created')).toEqual({
      model: 'customer.subscription',
      action: 'created',
    })
    expect(modelAndAction('ping')).toEqual({ model: null, action: null })
    const all = recordingHook('all', {})
    const created = recordingHook('created', { action: 'created' })
    expect(hooksFor([all, created], 'coupon.created')).toEqual([all, created])
    expect(hooksFor([all, created], 'ping')).toEqual([all])
  })
})

describe('docs/event-hooks.md', () => {
  it('contains the source of the tested example', async () => {
    const page = await readFile(new URL('event-hooks.md', DOCS), 'utf8')
    const code = await readFile(new URL('examples/coupon-hook.ts', DOCS), 'utf8')
    expect(page).toContain(`\`\`\`ts\n// docs/examples/coupon-hook.ts\n${code}\`\`\`\n`)
  })

  it('has an example that publishes the coupon in its present state', async () => {
    const shop = await app.openWiredShop()
    const stripe = await app.deps.clients.forConference(shop.conference)
    const coupon = await stripe.coupons.create({ percent_off: 10, name: 'Early bird' })
    const gone = await stripe.coupons.create({ percent_off: 20, name: 'Gone' })
    await stripe.coupons.update(coupon.id, { name: 'Early birds' })
    await stripe.coupons.del(gone.id)
    await app.settle()
    expect(published).toEqual(['New: Early birds'])
    expect(app.log.some((line) => line.includes('published in the newsletter'))).toBe(true)
  })
})

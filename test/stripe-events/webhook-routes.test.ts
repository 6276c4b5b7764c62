import { describe, expect, it } from 'vitest'
import { eventOf, newEventId, sign, useInboxApp } from './inbox-app.ts'

const app = useInboxApp()
const HANDLED = 'checkout.session.completed'
const seconds = () => Math.floor(Date.now() / 1000)

describe('a webhook', () => {
  it('is stored with its exact bytes before it is acknowledged', async () => {
    const shop = await app.openWiredShop()
    const body = JSON.stringify(eventOf(HANDLED, { id: 'cs_1', note: 'Zoë 🎟' }), null, 3)
    expect(await app.post(shop, body)).toMatchObject({ status: 200, body: { received: true } })
    const [row] = await app.rows<{ body: Buffer; status: string }>(
      'select body, status from stripe_events where conference_id = $1',
      [shop.conference],
    )
    expect(row?.body.toString('utf8')).toBe(body)
    expect(row?.status).toBe('pending')
  })

  it('is accepted under the conference’s id and its slug', async () => {
    const shop = await app.openWiredShop()
    const byId = { ...shop, slug: shop.conference }
    expect((await app.post(byId, eventOf(HANDLED, { id: 'cs_1' }))).status).toBe(200)
    expect(await app.events(shop)).toHaveLength(1)
  })

  it('stores the ids by which the purchase is found', async () => {
    const shop = await app.openWiredShop()
    const metadata = { purchase_id: 'bp_meta', conference_id: shop.conference }
    const session = { id: 'cs_1', object: 'checkout.session', payment_intent: null }
    await app.post(shop, eventOf(HANDLED, { ...session, client_reference_id: 'bp_ref' }))
    await app.post(shop, eventOf(HANDLED, { ...session, id: 'cs_2', metadata }))
    await app.post(
      shop,
      eventOf('payment_intent.succeeded', { id: 'pi_1', object: 'payment_intent' }),
    )
    await app.post(
      shop,
      eventOf('refund.created', { id: 're_1', object: 'refund', payment_intent: { id: 'pi_2' } }),
    )
    const rows = await app.events(shop)
    expect(
      Object.fromEntries(
        rows.map((row) => [row.object_id, [row.purchase_id, row.payment_intent_id]]),
      ),
    ).toEqual({
      cs_1: ['bp_ref', null], // null stays null, never "None" (D11)
      cs_2: ['bp_meta', null],
      pi_1: [null, 'pi_1'],
      re_1: [null, 'pi_2'],
    })
  })
})

describe('a webhook that Stripe did not send', () => {
  it('is refused with 400 and not stored (D18, E3)', async () => {
    const shop = await app.openWiredShop()
    const event = eventOf(HANDLED, { id: 'cs_1' })
    const forged = [
      await app.post(shop, event, { secret: 'whsec_of_another_conference' }),
      await app.post(shop, event, { header: null }),
      await app.post(shop, event, { header: 'nonsense' }),
      await app.post(shop, event, { header: `t=${seconds()}` }),
      await app.post(shop, event, { header: `t=${seconds()},v1=` }),
      await app.post(shop, event, { at: seconds() - 301 }),
      await app.post(shop, '', { header: sign('', shop.secret) }),
      // The signature is for other bytes, as when a proxy formats the JSON again.
      await app.post(shop, JSON.stringify(event), {
        header: sign(JSON.stringify(event, null, 2), shop.secret),
      }),
    ]
    for (const answer of forged) {
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_signature' } })
    }
    expect(await app.events(shop)).toEqual([])
    expect((await app.post(shop, event, { at: seconds() - 290 })).status).toBe(200)
  })

  it('is refused while the conference has no secret (D18, F14)', async () => {
    const shop = await app.openWiredShop()
    const { body } = await app.request<{ data: { id: string }[] }>(
      'GET',
      `${shop.path}/webhook-secrets`,
    )
    await app.request('DELETE', `${shop.path}/webhook-secrets/${body.data[0]?.id}`)
    expect(await app.post(shop, eventOf(HANDLED, { id: 'cs_1' }))).toMatchObject({
      status: 400,
      body: { code: 'invalid_signature', detail: expect.stringContaining('no webhook secret') },
    })
  })

  it('is 404 for a conference that does not exist (D18)', async () => {
    const secret = 'whsec_12345678'
    const answer = await app.post({ slug: 'no-such', secret }, eventOf(HANDLED, { id: 'cs_1' }))
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
  })

  it('is 400 when it is signed but not an event', async () => {
    const shop = await app.openWiredShop()
    const bodies = ['{"id": ', '[]', 'null', '"evt_1"', '{}', '{"id":"evt_1"}', '{"id":1,"type":2}']
    for (const body of bodies) expect((await app.post(shop, body)).status).toBe(400)
    expect(await app.events(shop)).toEqual([])
  })

  it('is 413 above one megabyte and accepted below', async () => {
    const shop = await app.openWiredShop()
    const filled = (size: number) => {
      const event = eventOf(HANDLED, { id: 'cs_1', note: '' })
      const missing = size - JSON.stringify(event).length
      return JSON.stringify(eventOf(HANDLED, { id: 'cs_1', note: 'x'.repeat(missing) }))
    }
    expect((await app.post(shop, filled(1024 * 1024 + 1))).status).toBe(413)
    expect((await app.post(shop, filled(1024 * 1024))).status).toBe(200)
  })
})

describe('a rolled webhook secret', () => {
  it('is valid beside the old one, from its creation until its deletion', async () => {
    const shop = await app.openWiredShop()
    const next = 'whsec_the_next_secret'
    const event = () => eventOf(HANDLED, { id: 'cs_1' })
    const both = (body: string) => {
      const [time, first] = sign(body, 'whsec_gone').split(',')
      const [, second] = sign(body, next, Number(time?.slice(2))).split(',')
      return `${time},v0=abc,${first},${second}`
    }
    expect((await app.post(shop, event(), { secret: next })).status).toBe(400)
    const added = await app.request<{ id: string }>('POST', `${shop.path}/webhook-secrets`, {
      body: { secret: next },
    })
    expect((await app.post(shop, event(), { secret: next })).status).toBe(200)
    expect((await app.post(shop, event())).status).toBe(200)
    // Signed with two secrets; only the second one is stored here.
    const body = JSON.stringify(event())
    expect((await app.post(shop, body, { header: both(body) })).status).toBe(200)
    await app.request('DELETE', `${shop.path}/webhook-secrets/${added.body.id}`)
    expect((await app.post(shop, event(), { secret: next })).status).toBe(400)
    expect((await app.post(shop, event())).status).toBe(200)
  })

  it('that Stripe rolled loses no event', async () => {
    const shop = await app.openWiredShop()
    const secret = app.fake.control.rollWebhookSecret(shop.endpoint)
    await app.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
    app.fake.control.pay(await shop.openSession((await shop.buy()).id))
    await app.fake.control.waitForDeliveries()
    const states = app.fake.control
      .deliveries()
      .filter(({ endpoint }) => endpoint === shop.endpoint)
    expect(states.length).toBeGreaterThan(0)
    expect(new Set(states.map(({ state }) => state))).toEqual(new Set(['delivered']))
  })
})

describe('an event that does not concern the conference', () => {
  it.each([
    ['of an unhandled type', eventOf('customer.created', { id: 'cus_1' })],
    ['of the other mode (D17)', eventOf(HANDLED, { id: 'cs_1' }, { livemode: true })],
    [
      'about another conference on the same account (D17)',
      eventOf(HANDLED, {
        id: 'cs_1',
        metadata: { purchase_id: 'bp_theirs', conference_id: 'conf_theirs' },
      }),
    ],
    [
      'of an unhandled type about another conference (D17)',
      eventOf('charge.succeeded', {
        id: 'ch_1',
        metadata: { purchase_id: 'bp_theirs', conference_id: 'conf_theirs' },
      }),
    ],
    ['without an object', { id: newEventId(), object: 'event', type: HANDLED, created: 1 }],
    [
      'of the second API (thin)',
      {
        id: newEventId(),
        object: 'v2.core.event',
        type: 'v1.billing.meter.error_report_triggered',
        created: '2026-10-01T12:00:00.000Z',
        livemode: false,
        related_object: { id: 'mtr_1', type: 'billing.meter', url: '/v1/billing/meters/mtr_1' },
      },
    ],
    [
      'with fields of the wrong kind',
      eventOf('x.y', { id: 7, metadata: 'none', payment_intent: [] }, { created: 'soon' }),
    ],
  ])('%s is stored as ignored and acknowledged', async (_what, event) => {
    const shop = await app.openWiredShop()
    expect(await app.post(shop, event)).toMatchObject({ status: 200 })
    expect(await app.events(shop)).toMatchObject([{ status: 'ignored', attempts: 0 }])
    expect(JSON.stringify(await app.events(shop))).not.toContain('theirs')
  })

  it('of a connected account is ignored when our own account is known', async () => {
    const shop = await app.openWiredShop()
    const setAccount = `update conferences set stripe_account = 'acct_ours' where id = $1`
    await app.rows(setAccount, [shop.conference])
    await app.post(shop, eventOf(HANDLED, { id: 'cs_1' }, { account: 'acct_theirs' }))
    await app.post(shop, eventOf(HANDLED, { id: 'cs_2' }, { account: 'acct_ours' }))
    const rows = await app.events(shop)
    expect(rows.map(({ object_id, status }) => `${object_id} ${status}`).toSorted()).toEqual([
      'cs_1 ignored',
      'cs_2 pending',
    ])
  })
})

describe('an event that is delivered twice', () => {
  it('is stored once and acknowledged each time, also in parallel (D19, F10)', async () => {
    const shop = await app.openWiredShop()
    const event = eventOf(HANDLED, { id: 'cs_1' })
    const answers = await Promise.all(Array.from({ length: 10 }, () => app.post(shop, event)))
    answers.push(await app.post(shop, event))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await app.events(shop)).toHaveLength(1)
    const { body } = await app.request<string>('GET', '/metrics')
    const duplicates = /events_received_total\{outcome="duplicate"\} (\d+)/.exec(String(body))?.[1]
    expect(Number(duplicates)).toBeGreaterThanOrEqual(10)
  })

  it('to two conferences is stored once for each (D17)', async () => {
    const shops = [await app.openWiredShop(), await app.openWiredShop()]
    const event = eventOf(HANDLED, { id: 'cs_1' })
    for (const shop of shops) {
      expect((await app.post(shop, event)).status).toBe(200)
      expect(await app.events(shop)).toHaveLength(1)
    }
  })
})

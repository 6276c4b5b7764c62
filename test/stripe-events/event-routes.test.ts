import { describe, expect, it } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { replayFailed } from '../../src/stripe-events/event-inbox.ts'
import { createSponsorKey, createStaffKey } from '../support/fixtures.ts'
import type { Body } from '../support/test-app.ts'
import { eventOf, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

type Listed = { data: (Body & { id: string })[]; has_more: boolean; next_cursor: string | null }

const list = (shop: WiredShop, query = '') =>
  app.request<Listed>('GET', `${shop.path}/stripe/events${query}`)

const replay = (shop: WiredShop, id: string, headers: Record<string, string> = {}) =>
  app.request('POST', `${shop.path}/stripe/events/${id}/replay`, { headers })

describe('the list of events', () => {
  it('shows each event with its status, newest first', async () => {
    const shop = await app.openWiredShop()
    const { id } = await app.paidOrder(shop)
    const { body } = await list(shop)
    const newest = (await app.events(shop)).at(-1)
    expect(body.data[0]?.id).toBe(newest?.id)
    const paid = body.data.find(({ type }) => type === 'payment_intent.succeeded')
    expect(paid).toEqual({
      id: expect.stringMatching(/^evt_/),
      object: 'stripe_event',
      type: 'payment_intent.succeeded',
      livemode: false,
      api_version: '2026-10-28.endive',
      status: 'done',
      attempts: 1,
      next_attempt_at: null,
      last_error: null,
      source: 'webhook',
      purchase: id,
      created_at: expect.any(String),
      received_at: expect.any(String),
      finished_at: expect.any(String),
    })
  })

  it('is paged and filtered by status and type', async () => {
    const shop = await app.openWiredShop()
    for (let i = 0; i < 5; i += 1) {
      const [type, object] =
        i < 3 ? ['payment_intent.succeeded', 'payment_intent'] : ['account.updated', 'account']
      await app.post(shop, eventOf(type, { id: `pi_${i}`, object }))
    }
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const { body } = await list(shop, `?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
      seen.push(...body.data.map(({ id }) => id))
      cursor = body.next_cursor
    }
    expect(seen).toEqual((await app.events(shop)).map(({ id }) => id).toReversed())
    const pending = await list(shop, '?status=pending')
    expect(pending.body.data).toHaveLength(3)
    expect(pending.body.data[0]).toMatchObject({ next_attempt_at: expect.any(String) })
    const { body } = await list(shop, '?type=account.updated&status=ignored')
    expect(body.data).toHaveLength(2)
  })

  it.each(['?status=open', '?type=Refund%20Created', '?limit=0', '?page=2'])(
    'refuses %s',
    async (query) => {
      const shop = await app.openWiredShop()
      expect(await list(shop, query)).toMatchObject({
        status: 400,
        body: { code: 'validation_failed' },
      })
    },
  )

  it('shows and replays no event of another conference, and needs the scope', async () => {
    const [mine, theirs] = [await app.openWiredShop(), await app.openWiredShop()]
    await app.post(mine, eventOf('customer.created', { id: 'cus_1' }))
    const [event] = await app.events(mine)
    const id = event?.id ?? ''
    expect((await list(theirs)).body.data).toEqual([])
    expect((await replay(theirs, id)).status).toBe(404)
    const { key: staff } = await createStaffKey(app, mine, ['purchases:read'])
    const { key: sync } = await createStaffKey(app, mine, ['stripe:sync'])
    const { key: sponsor } = await createSponsorKey(app, mine, mine.sponsor)
    const url = `${mine.path}/stripe/events`
    const statuses = await Promise.all(
      [staff, sponsor, sync].map(async (as) => (await app.request('GET', url, { as })).status),
    )
    expect(statuses).toEqual([403, 403, 200])
    const answer = await app.request('POST', `${url}/${id}/replay`, { as: staff })
    expect(answer.status).toBe(403)
  })
})

describe('a replay', () => {
  it('makes a done, ignored or failed event due again', async () => {
    const shop = await app.openWiredShop()
    await app.post(shop, eventOf('customer.created', { id: 'cus_1' }))
    const [event] = await app.events(shop)
    const id = event?.id ?? ''
    for (const status of ['ignored', 'done', 'failed']) {
      await app.rows(
        `update stripe_events set status = $1, attempts = 20, finished_at = now(), last_error = 'x'
         where id = $2`,
        [status, id],
      )
      expect(await replay(shop, id)).toMatchObject({
        status: 200,
        body: { id, status: 'pending', attempts: 0, source: 'replay', finished_at: null },
      })
    }
    await app.drain()
    expect(await app.events(shop)).toMatchObject([{ status: 'ignored', attempts: 1 }])
  })

  it('of a pending event is refused, because the event will be processed anyway', async () => {
    const shop = await app.openWiredShop()
    await app.post(shop, eventOf('refund.created', { id: 're_1' }))
    const [event] = await app.events(shop)
    expect(await replay(shop, event?.id ?? '')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'pending', allowed_actions: [] },
    })
    expect((await replay(shop, 'evt_unknown')).status).toBe(404)
  })

  it('that is repeated under its Idempotency-Key happens once', async () => {
    const shop = await app.openWiredShop()
    await app.post(shop, eventOf('customer.created', { id: 'cus_1' }))
    const [event] = await app.events(shop)
    const headers = { 'idempotency-key': 'replay-1' }
    const first = await replay(shop, event?.id ?? '', headers)
    await app.drain()
    expect(await replay(shop, event?.id ?? '', headers)).toMatchObject({ body: first.body })
    expect(await app.events(shop)).toMatchObject([{ status: 'ignored' }])
  })

  it('of all failed events leaves the other events alone', async () => {
    const shop = await app.openWiredShop()
    for (const type of ['refund.created', 'refund.updated', 'customer.created']) {
      await app.post(shop, eventOf(type, { id: 're_1' }))
    }
    await app.rows(
      `update stripe_events set status = 'failed', finished_at = now()
       where conference_id = $1 and status = 'pending'`,
      [shop.conference],
    )
    const tenant = { conferenceId: shop.conference }
    const all = () => withTenant(app.db, tenant, (trx) => replayFailed(trx, shop.conference))
    expect(await all()).toBe(2)
    expect(await all()).toBe(0)
    const states = (await app.events(shop)).map(({ status }) => status)
    expect(states.toSorted()).toEqual(['ignored', 'pending', 'pending'])
  })
})

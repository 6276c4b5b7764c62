import { describe, expect, it } from 'vitest'
import { readWebhookReceivers } from '../../src/conferences/stripe-credentials.ts'
import { connect } from '../../src/db/connect.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { createLogger } from '../../src/shared/logger.ts'
import type { IncomingEvent } from '../../src/stripe-events/classify-event.ts'
import { createEventInbox, type EventInbox } from '../../src/stripe-events/event-inbox.ts'
import { createConference } from '../support/fixtures.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { startTestProcess, TEST_ENCRYPTION_KEY } from '../support/test-app.ts'
import { directUrl } from '../support/test-connections.ts'
import { eventOf, newEventId, sign, useInboxApp } from './inbox-app.ts'

const app = useInboxApp()

function inboxEvent(conferenceId: string, more: Partial<IncomingEvent> = {}): IncomingEvent {
  return {
    conferenceId,
    id: newEventId(),
    type: 'refund.created',
    livemode: false,
    apiVersion: null,
    body: Buffer.from([0x7b, 0x00, 0xff, 0x5c, 0x22, 0x7d]), // neither JSON nor text
    objectId: 're_"quoted\\',
    paymentIntentId: null,
    purchaseId: null,
    lane: 'purchase',
    mirrorResource: null,
    mirrorId: null,
    source: 'webhook',
    status: 'pending',
    createdAtStripe: new Date(1_700_000_000_000),
    ...more,
  }
}

function newInbox(log: string[] = []): EventInbox {
  const logger = createLogger('trace', { write: (line) => void log.push(line) })
  return createEventInbox({ db: app.db, logger })
}

/** How many inserts `work` sends. */
async function insertsDuring(work: () => Promise<unknown>): Promise<number> {
  const sent = await roundTripsOf(work)
  return sent.filter((sql) => sql.includes('insert into stripe_events')).length
}

const conferenceId = async () => (await createConference(app)).id

const storedBodies = (conference: string) =>
  app.rows<{ id: string; body: Buffer }>(
    'select id, body from stripe_events where conference_id = $1',
    [conference],
  )

describe('the inbox', () => {
  it('stores events that arrive together with one insert, and reports which were new', async () => {
    const conference = await conferenceId()
    const inbox = newInbox()
    const events = Array.from({ length: 60 }, () => inboxEvent(conference))
    const [first] = events
    if (first === undefined) throw new Error('no event')
    await inbox.store(first)
    let results: string[] = []
    const inserts = await insertsDuring(async () => {
      results = await Promise.all([...events, ...events].map((event) => inbox.store(event)))
    })
    expect(inserts).toBeLessThanOrEqual(2)
    // The second insert may overtake the first one.
    const news = events.map((_, index) =>
      [results[index], results[index + 60]].filter((result) => result === 'new'),
    )
    expect(news.map((each) => each.length)).toEqual([0, ...Array<number>(59).fill(1)])
    const rows = await storedBodies(conference)
    expect(rows).toHaveLength(60)
    expect(rows.every(({ body }) => body.equals(first.body))).toBe(true)
  })

  it('keeps groups small when bodies are large', async () => {
    const conference = await conferenceId()
    const body = Buffer.alloc(900 * 1024, 'x')
    const inbox = newInbox()
    const inserts = await insertsDuring(() =>
      Promise.all(Array.from({ length: 9 }, () => inbox.store(inboxEvent(conference, { body })))),
    )
    expect(inserts).toBe(3)
    expect(await storedBodies(conference)).toHaveLength(9)
  })

  it('stores the other events of a group when one cannot be stored', async () => {
    const conference = await conferenceId()
    const log: string[] = []
    const inbox = newInbox(log)
    const results = await Promise.allSettled([
      inbox.store(inboxEvent(conference)),
      inbox.store(inboxEvent('conf_deleted_meanwhile')),
      inbox.store(inboxEvent(conference, { objectId: 'a\u0000b' })), // Postgres has no NUL
      inbox.store(inboxEvent(conference)),
    ])
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ])
    expect(await storedBodies(conference)).toHaveLength(2)
    expect(log.join()).toContain('one by one')
    // The next group is stored as usual.
    expect(await inbox.store(inboxEvent(conference))).toBe('new')
  })

  it('stores of a group only the events whose verification still holds', async () => {
    const shops = [await app.openWiredShop(), await app.openWiredShop()]
    const names = shops.map(({ conference }) => conference)
    const read = async () =>
      (await readWebhookReceivers(app.db, createEncryption(TEST_ENCRYPTION_KEY), names)).map(
        (receiver) => {
          const [secret] = receiver?.secrets ?? []
          if (receiver === null || secret === undefined) throw new Error('no secret')
          return { receiver, secret }
        },
      )
    const [gone, kept] = await read()
    await app.rows(`update conferences set livemode = true where id = $1`, [names[0]])
    const [renewed] = await read()
    const inbox = newInbox()
    const [mine = '', theirs = ''] = names
    const both = inboxEvent(mine)
    const unchecked = inboxEvent(mine, { source: 'missed' })
    const results = await Promise.all([
      inbox.store(inboxEvent(mine), gone),
      inbox.store(inboxEvent(theirs), kept),
      // The same event, verified before and after the change.
      inbox.store(both, gone),
      inbox.store(both, renewed),
      inbox.store(unchecked),
    ])
    expect(results).toEqual(['outdated', 'new', 'outdated', 'new', 'new'])
    const ids = (await storedBodies(mine)).map(({ id }) => id)
    expect(ids.toSorted()).toEqual([both.id, unchecked.id].toSorted())
    await app.rows('delete from webhook_secrets where conference_id = $1', [theirs])
    expect(await inbox.store(inboxEvent(theirs), kept)).toBe('outdated')
  })

  it('causes no deadlock when processes store the same events in different orders', async () => {
    const conference = await conferenceId()
    const events = Array.from({ length: 40 }, () => inboxEvent(conference))
    const orders = Array.from({ length: 6 }, (_, i) => (i % 2 === 0 ? events : events.toReversed()))
    const results = await Promise.all(
      orders.map((order) => {
        const inbox = newInbox()
        return Promise.all(order.map((event) => inbox.store(event)))
      }),
    )
    expect(results.flat().filter((result) => result === 'new')).toHaveLength(40)
  })

  it('wakes the workers once per group', async () => {
    const conference = await conferenceId()
    const heard: string[] = []
    const listener = connect(directUrl(app.connectionString), { max: 1 })
    const connection = await listener.client.acquireConnection()
    connection.on('notification', ({ channel }: { channel: string }) => heard.push(channel))
    await listener.raw('listen stripe_events').connection(connection)
    const inbox = newInbox()
    await Promise.all(Array.from({ length: 20 }, () => inbox.store(inboxEvent(conference))))
    await expect.poll(() => heard).toEqual(['stripe_events'])
    await inbox.store(inboxEvent(conference, { status: 'ignored' }))
    await inbox.store(inboxEvent(conference))
    await expect.poll(() => heard).toEqual(['stripe_events', 'stripe_events'])
    listener.client.releaseConnection(connection)
    await listener.destroy()
  })

  it('answers 503 without a database, so that Stripe sends the event again (D18)', async () => {
    const away = await startTestProcess('postgres://nobody@127.0.0.1:9/none')
    const body = JSON.stringify(eventOf('refund.created', { id: 're_1' }))
    const answer = await away.request('POST', '/webhooks/stripe/any', {
      as: null,
      body,
      headers: { 'stripe-signature': sign(body, 'whsec_12345678') },
    })
    expect(answer).toMatchObject({
      status: 503,
      body: { code: 'database_unavailable' },
      headers: { 'retry-after': expect.anything() },
    })
    await away.close()
  })
})

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createWebhookReceivers } from '../../src/conferences/stripe-credentials.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { startTestProcess, TEST_ENCRYPTION_KEY, type TestProcess } from '../support/test-app.ts'
import { eventOf, sign, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()
let other: TestProcess
beforeAll(async () => {
  other = await startTestProcess(app.connectionString)
})
afterAll(() => other.close())

const REFUSED = { status: 400, body: { code: 'invalid_signature' } }
const refund = (more = {}) => eventOf('refund.created', { id: 're_1', object: 'refund' }, more)

type Sent = { secret?: string; event?: unknown }

/** The answers of both processes to a webhook. */
function postToBoth({ slug, secret }: { slug: string; secret: string }, sent: Sent = {}) {
  const body = JSON.stringify(sent.event ?? refund())
  const headers = {
    'content-type': 'application/json',
    'stripe-signature': sign(body, sent.secret ?? secret),
  }
  const path = `/webhooks/stripe/${slug}`
  return Promise.all(
    [app, other].map((each) => each.request('POST', path, { as: null, body, headers })),
  )
}

/** A conference that both processes remember. */
async function knownShop(): Promise<WiredShop> {
  const shop = await app.openWiredShop()
  for (const { status } of await postToBoth(shop)) expect(status).toBe(200)
  return shop
}

const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status)

describe('a conference that a process remembers', () => {
  it('is not read again: a webhook takes one round trip', async () => {
    const shop = await knownShop()
    const trips = await roundTripsOf(() => app.post(shop, refund()))
    expect(trips).toHaveLength(1)
    expect(trips[0]).toContain('insert into stripe_events')
  })

  it('accepts no webhook with a deleted secret in any process, from its deletion on', async () => {
    const shop = await knownShop()
    const stored = refund()
    await postToBoth(shop, { event: stored })
    const next = 'whsec_the_next_secret'
    await app.request('POST', `${shop.path}/webhook-secrets`, { body: { secret: next } })
    const secrets = await app.request<{ data: { id: string }[] }>(
      'GET',
      `${shop.path}/webhook-secrets`,
    )
    await app.request('DELETE', `${shop.path}/webhook-secrets/${secrets.body.data[1]?.id}`)
    const events = (await app.events(shop)).length

    // An event that is stored already is refused like a new one.
    for (const event of [refund(), stored]) {
      expect(await postToBoth(shop, { event })).toMatchObject([REFUSED, REFUSED])
    }
    expect(await app.events(shop)).toHaveLength(events)
    expect(statuses(await postToBoth(shop, { secret: next }))).toEqual([200, 200])
  })

  it('accepts a new secret in every process from its creation on, and refuses others with one read', async () => {
    const shop = await knownShop()
    const next = 'whsec_the_next_secret'
    expect(await postToBoth(shop, { secret: next })).toMatchObject([REFUSED, REFUSED])
    await app.request('POST', `${shop.path}/webhook-secrets`, { body: { secret: next } })
    expect(statuses(await postToBoth(shop, { secret: next }))).toEqual([200, 200])
    const trips = await roundTripsOf(() => app.post(shop, refund(), { secret: 'whsec_no_one_has' }))
    expect(trips).toHaveLength(1)
    expect(trips[0]).toContain('webhook_secrets')
  })

  it('refuses all webhooks when its only secret is deleted while they arrive', async () => {
    const shop = await knownShop()
    const [secret] = await app.rows<{ id: string }>(
      'select id from webhook_secrets where conference_id = $1',
      [shop.conference],
    )
    const sending = new AbortController()
    const keepSending = async () => {
      while (!sending.signal.aborted) await postToBoth(shop)
    }
    const senders = Array.from({ length: 4 }, keepSending)
    await app.request('DELETE', `${shop.path}/webhook-secrets/${secret?.id}`)
    const after = await Promise.all(Array.from({ length: 10 }, () => postToBoth(shop)))
    sending.abort()
    await Promise.all(senders)
    expect(new Set(after.flat().map(({ status }) => status))).toEqual(new Set([400]))
  })

  it('judges an event by its present mode and Stripe account', async () => {
    const shop = await knownShop()
    const statusOf = async (event: { id?: unknown }) =>
      (await app.events(shop)).find(({ id }) => id === event.id)?.status
    const foreign = () => refund({ account: 'acct_theirs' })
    const before = foreign()
    await app.post(shop, before)
    expect(await statusOf(before)).toBe('pending')
    const set = (change: string) =>
      app.rows(`update conferences set ${change} where id = $1`, [shop.conference])
    await set(`stripe_account = 'acct_ours'`)
    const after = foreign()
    expect(statuses(await postToBoth(shop, { event: after }))).toEqual([200, 200])
    expect(await statusOf(after)).toBe('ignored')
    await set('livemode = true')
    const test = refund()
    expect(statuses(await postToBoth(shop, { event: test }))).toEqual([200, 200])
    expect(await statusOf(test)).toBe('ignored')
  })

  it('is not found under a slug that it no longer has', async () => {
    const shop = await knownShop()
    const byId = { ...shop, slug: shop.conference }
    expect(statuses(await postToBoth(byId))).toEqual([200, 200])
    const renamed = { ...shop, slug: `${shop.slug}-renamed` }
    await app.rows('update conferences set slug = $2 where id = $1', [
      shop.conference,
      renamed.slug,
    ])
    expect(statuses(await postToBoth(shop))).toEqual([404, 404])
    expect(statuses(await postToBoth(renamed))).toEqual([200, 200])
    expect(statuses(await postToBoth(byId))).toEqual([200, 200])
  })
})

describe('the conferences that a process remembers', () => {
  it('are few, and unknown ones are not among them', async () => {
    const encryption = createEncryption(TEST_ENCRYPTION_KEY)
    const receivers = createWebhookReceivers({ db: app.db, encryption }, 2)
    const slugs: string[] = []
    for (let i = 0; i < 3; i += 1) slugs.push((await app.openWiredShop()).slug)
    const remembered = () => slugs.map((slug) => receivers.remembered(slug)?.slug)
    for (const slug of slugs) await receivers.read(slug)
    expect(remembered()).toEqual([undefined, slugs[1], slugs[2]])
    await receivers.read(slugs[1] ?? '')
    await receivers.read(slugs[0] ?? '')
    expect(remembered()).toEqual([slugs[0], slugs[1], undefined])

    expect(await receivers.read('opens-later')).toBeNull()
    expect(receivers.remembered('opens-later')).toBeUndefined()
    await app.openWiredShop({ slug: 'opens-later' })
    expect(await receivers.read('opens-later')).toMatchObject({ slug: 'opens-later' })
  })
})

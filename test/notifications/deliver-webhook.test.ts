import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { createPostWebhook, retryDelaySeconds } from '../../src/notifications/deliver-webhook.ts'
import { publishEvent } from '../../src/notifications/outbound-events.ts'
import { createConference } from '../support/fixtures.ts'
import { useOutgoingScene } from './outbound-webhook-scene.ts'
import { startHookReceiver } from './webhook-receiver.ts'

const app = useOutgoingScene()

async function openConference() {
  const { id: conference, path } = await createConference(app)
  const announce = (purchase = 'bp_1') =>
    withTenant(app.db, { conferenceId: conference }, (trx) =>
      publishEvent(trx, {
        conferenceId: conference,
        type: 'purchase.paid',
        data: { purchase, total_amount: 1_000 },
      }),
    )
  return { conference, path, announce }
}

/** A conference with one endpoint. */
async function openWired() {
  const receiver = await startHookReceiver()
  const shop = await openConference()
  const endpoint = await app.addEndpoint(shop.path, { url: receiver.url })
  const only = async () => {
    const [delivery] = await app.deliveries(shop.path, endpoint.id)
    if (delivery === undefined) throw new Error('There is no delivery')
    return delivery
  }
  const replay = (delivery: string) =>
    app.request(
      'POST',
      `${shop.path}/webhook-endpoints/${endpoint.id}/deliveries/${delivery}/replay`,
    )
  return { ...shop, receiver, endpoint, only, replay }
}

const idsOf = (receiver: { received: { headers: Record<string, string> }[] }) =>
  receiver.received.map(({ headers }) => headers['webhook-id'])

describe('an outbound webhook', () => {
  it('is small and signed by the Standard Webhooks specification', async () => {
    const shop = await openWired()
    await shop.announce()
    await app.send(shop)
    const [hook] = shop.receiver.received
    const { id } = await shop.only()
    expect(id).toMatch(/^msg_/)
    expect(hook?.headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': id,
    })
    const { body = '', headers = {} } = hook ?? {}
    // The library of the specification, which also checks the age of the timestamp.
    expect(new Webhook(shop.endpoint.secret).verify(body, headers)).toMatchObject({
      type: 'purchase.paid',
      data: { purchase: 'bp_1', total_amount: 1_000 },
    })
    const other = `whsec_${Buffer.alloc(32, 1).toString('base64')}`
    expect(() => new Webhook(other).verify(body, headers)).toThrow('No matching signature')
    expect(await shop.only()).toMatchObject({
      state: 'delivered',
      attempts: 1,
      last_status: 200,
      last_error: null,
      next_attempt_at: null,
    })
  })

  it('is retried with the same id and body until the receiver accepts it', async () => {
    const shop = await openWired()
    await shop.announce()
    shop.receiver.answerWith(500, 'redirect', 204)
    await app.send(shop)
    expect(await shop.only()).toMatchObject({
      state: 'pending',
      attempts: 1,
      last_status: 500,
      last_error: 'The receiver answered 500.',
    })
    await app.send(shop)
    // Redirects are not followed, because they could lead anywhere.
    expect(await shop.only()).toMatchObject({ state: 'pending', attempts: 2, last_status: 307 })
    await app.send(shop)
    expect(await shop.only()).toMatchObject({ state: 'delivered', attempts: 3, last_status: 204 })
    expect(shop.receiver.received).toHaveLength(3)
    expect(new Set(idsOf(shop.receiver)).size).toBe(1)
    expect(new Set(shop.receiver.received.map(({ body }) => body)).size).toBe(1)
    expect(await app.send(shop)).toBe(0)
  })

  it('is attempted ten times over three days, each time by a scheduled job, then fails', async () => {
    const shop = await openWired()
    await shop.announce()
    const waits: number[] = []
    for (let tries = 0; tries < 10; tries += 1) {
      shop.receiver.answerWith(503)
      await app.send(shop)
      const [job] = await app.jobs(shop.conference)
      if (job !== undefined) waits.push(job.inSeconds)
    }
    const hours = waits.reduce((sum, seconds) => sum + seconds, 0) / 3_600
    expect(waits).toHaveLength(9)
    expect(hours).toBeGreaterThan(75)
    expect(hours).toBeLessThan(84)
    expect(await shop.only()).toMatchObject({
      state: 'failed',
      attempts: 10,
      next_attempt_at: null,
    })
    expect(app.log.some((line) => line.includes('waits for a replay'))).toBe(true)
  })

  it('gets all its attempts again when staff replay it, with the same id', async () => {
    const shop = await openWired()
    await shop.announce()
    await app.send(shop)
    const { id } = await shop.only()
    expect(await shop.replay(id)).toMatchObject({
      status: 200,
      body: { id, state: 'pending', attempts: 0, finished_at: null },
    })
    expect(await shop.replay(id)).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
    await app.send(shop)
    expect(idsOf(shop.receiver)).toEqual([id, id])
    expect(await shop.only()).toMatchObject({ state: 'delivered', attempts: 1 })
  })

  it('is no longer sent to a receiver that answers 410 Gone', async () => {
    const shop = await openWired()
    await shop.announce('bp_1')
    await shop.announce('bp_2')
    shop.receiver.answerWith(410)
    await app.send(shop)
    const endpoint = `${shop.path}/webhook-endpoints/${shop.endpoint.id}`
    expect((await app.request('GET', endpoint)).body).toMatchObject({
      enabled: false,
      disabled_by: 'receiver',
    })
    await shop.announce('bp_3')
    const deliveries = await app.deliveries(shop.path, shop.endpoint.id)
    expect(deliveries.map(({ state, last_error: error }) => [state, error])).toEqual([
      ['failed', 'The endpoint is disabled.'],
      ['failed', 'The receiver answered 410.'],
    ])
    expect(shop.receiver.received).toHaveLength(1)
    const [second] = deliveries
    expect(await shop.replay(second?.id ?? '')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'disabled' },
    })
    await app.request('PATCH', endpoint, { body: { enabled: true } })
    expect((await shop.replay(second?.id ?? '')).status).toBe(200)
    await app.send(shop)
    expect(shop.receiver.received).toHaveLength(2)
  })

  it('goes to each endpoint that subscribes to its type, each with its own id', async () => {
    const receiver = await startHookReceiver()
    const shop = await openConference()
    const add = (body: object) => app.addEndpoint(shop.path, { url: receiver.url, ...body })
    const all = await add({})
    const paid = await add({ event_types: ['purchase.paid'] })
    const other = await add({ event_types: ['vouchers.issued'] })
    const disabled = await add({})
    const off = `${shop.path}/webhook-endpoints/${disabled.id}`
    await app.request('PATCH', off, { body: { enabled: false } })
    await shop.announce()
    expect(await app.send(shop)).toBe(2)
    expect(new Set(idsOf(receiver)).size).toBe(2)
    expect(await app.deliveries(shop.path, all.id)).toHaveLength(1)
    expect(await app.deliveries(shop.path, paid.id, '&state=delivered')).toHaveLength(1)
    expect(await app.deliveries(shop.path, paid.id, '&state=failed')).toEqual([])
    expect(await app.deliveries(shop.path, other.id)).toEqual([])
    expect(await app.deliveries(shop.path, disabled.id)).toEqual([])
  })

  it('is signed with both secrets during a rotation, then only with the new one', async () => {
    const shop = await openWired()
    const rotate = async (body?: object) => {
      const url = `${shop.path}/webhook-endpoints/${shop.endpoint.id}/rotate-secret`
      return String((await app.request('POST', url, { body })).body['secret'])
    }
    const accepts = (secret: string, hook = shop.receiver.received.at(-1)) => {
      try {
        new Webhook(secret).verify(hook?.body ?? '', hook?.headers ?? {})
        return true
      } catch {
        return false
      }
    }
    const secret = await rotate()
    expect(secret).not.toBe(shop.endpoint.secret)
    await shop.announce()
    await app.send(shop)
    expect([accepts(secret), accepts(shop.endpoint.secret)]).toEqual([true, true])
    const last = await rotate({ overlap_seconds: 0 })
    await shop.announce()
    await app.send(shop)
    expect([accepts(last), accepts(secret)]).toEqual([true, false])
  })

  it('is sent again with the same id after its process died before recording the outcome', async () => {
    const shop = await openWired()
    await shop.announce()
    const post = createPostWebhook({ allowLoopback: true })
    const dies = app.send(shop, {
      async postWebhook(sent) {
        await post(sent)
        // As if the process ended before it recorded the response.
        await new Promise(() => {})
        return 0
      },
    })
    await expect.poll(() => shop.receiver.received.length).toBe(1)
    void dies
    const { id, state } = await shop.only()
    expect(state).toBe('pending')
    const [, endpoint, delivery] = [shop.conference, shop.endpoint.id, id]
    await withTenant(app.db, { conferenceId: shop.conference }, (trx) =>
      trx.raw(
        `select graphile_worker.add_job('deliver_webhook', payload => ?::json, job_key => ?)`,
        [
          JSON.stringify({
            version: 1,
            conference_id: shop.conference,
            endpoint_id: endpoint,
            delivery_id: delivery,
          }),
          `deliver_webhook:${delivery}`,
        ],
      ),
    )
    await app.send(shop)
    expect(idsOf(shop.receiver)).toEqual([id, id])
    expect(await shop.only()).toMatchObject({ state: 'delivered', attempts: 1 })
  })

  it('is not sent when the transaction that published it rolls back', async () => {
    const shop = await openWired()
    const undone = withTenant(app.db, { conferenceId: shop.conference }, async (trx) => {
      await publishEvent(trx, {
        conferenceId: shop.conference,
        type: 'purchase.paid',
        data: { purchase: 'bp_1' },
      })
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await app.jobs(shop.conference)).toEqual([])
    expect(await app.deliveries(shop.path, shop.endpoint.id)).toEqual([])
  })
})

describe('a private network', () => {
  const refusedUrls = [
    'https://10.1.2.3/hooks',
    'https://192.168.0.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://[fd00::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://0.0.0.0/',
    // A name that resolves to such an address. It is checked after it was resolved.
    'https://localhost/',
  ]

  it.each(refusedUrls)('is never called: %s', async (url) => {
    const shop = await openConference()
    const endpoint = await app.addEndpoint(shop.path, { url })
    await shop.announce()
    await app.send(shop, { postWebhook: createPostWebhook({ allowLoopback: false }) })
    const [delivery] = await app.deliveries(shop.path, endpoint.id)
    expect(delivery).toMatchObject({
      state: 'pending',
      last_status: null,
      last_error: 'The address is in a private network.',
    })
  })

  it('is never called even if a setting allows this machine', async () => {
    const post = createPostWebhook({ allowLoopback: true })
    const signal = new AbortController().signal
    const call = post({ url: 'https://10.0.0.1/', headers: {}, body: '{}', signal })
    await expect(call).rejects.toThrow('private IP address')
  })
})

describe('the retry schedule', () => {
  it('ends after ten attempts, and adds jitter', () => {
    expect(retryDelaySeconds(1, 0)).toBe(5)
    expect(retryDelaySeconds(1, 1)).toBe(5.5)
    expect(retryDelaySeconds(9, 0)).toBe(86_400)
    expect(retryDelaySeconds(10)).toBeNull()
  })
})

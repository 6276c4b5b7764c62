import { expect, it } from 'vitest'
import { refusal, sessionParams, startFake } from './fake-under-test.ts'
import { startReceiver, verify } from './webhook-receiver.ts'

/** A fake with one endpoint for all events. */
async function startWithReceiver(options: Parameters<typeof startFake>[0] = {}) {
  const test = await startFake(options)
  const receiver = await startReceiver()
  const endpoint = test.control.addWebhookEndpoint({ account: test.account, url: receiver.url })
  return { ...test, receiver, endpoint }
}

it('signs webhooks so that the SDK accepts them', async () => {
  const { stripe, control, receiver, endpoint } = await startWithReceiver()
  const customer = await stripe.customers.create({ name: 'Ünïcode 日本' })
  await control.waitForDeliveries()
  const [first] = receiver.received
  if (first === undefined) throw new Error('nothing came')
  const event = verify(first, endpoint.secret)
  expect(event).toMatchObject({
    object: 'event',
    type: 'customer.created',
    livemode: false,
    api_version: '2026-10-28.endive',
    pending_webhooks: 1,
    data: { object: { id: customer.id, name: 'Ünïcode 日本' } },
  })
  expect(() =>
    verify({ ...first, body: first.body.replace('Ünï', 'Uni') }, endpoint.secret),
  ).toThrow(/signature/i)
  expect(() => verify(first, 'whsec_other')).toThrow(/signature/i)
  expect(first.headers).toMatchObject({ 'content-type': 'application/json; charset=utf-8' })
})

it('signs with real time, also when the clock was advanced by days', async () => {
  const { stripe, control, receiver, endpoint } = await startWithReceiver()
  control.clock.advance(3 * 24 * 60 * 60)
  await stripe.customers.create({})
  await control.waitForDeliveries()
  const [first] = receiver.received
  expect(first && verify(first, endpoint.secret).type).toBe('customer.created')
})

it('signs with both secrets while they are rolled', async () => {
  const { stripe, control, receiver, endpoint } = await startWithReceiver()
  const rolled = control.rollWebhookSecret(endpoint.id, 3600)
  await stripe.customers.create({})
  await control.waitForDeliveries()
  control.clock.advance(3601)
  await stripe.customers.create({})
  await control.waitForDeliveries()
  const [during, after] = receiver.received
  if (during === undefined || after === undefined) throw new Error('two must come')
  expect(during.signature.match(/v1=/g)).toHaveLength(2)
  expect(verify(during, endpoint.secret).id).toBe(verify(during, rolled).id)
  expect(after.signature.match(/v1=/g)).toHaveLength(1)
  expect(() => verify(after, endpoint.secret)).toThrow(/signature/i)
  expect(verify(after, rolled).type).toBe('customer.created')
})

it('sends each endpoint only the events of its types', async () => {
  const { stripe, control, account } = await startFake()
  const [all, some, none] = [await startReceiver(), await startReceiver(), await startReceiver()]
  await stripe.webhookEndpoints.create({ url: all.url, enabled_events: ['*'] })
  await stripe.webhookEndpoints.create({ url: some.url, enabled_events: ['charge.succeeded'] })
  const off = await stripe.webhookEndpoints.create({ url: none.url, enabled_events: ['*'] })
  await stripe.webhookEndpoints.update(off.id, { disabled: true })
  control.pay((await stripe.checkout.sessions.create(sessionParams())).id)
  await control.waitForDeliveries()
  expect(all.types().toSorted()).toEqual([
    'charge.succeeded',
    'checkout.session.completed',
    'payment_intent.created',
    'payment_intent.succeeded',
  ])
  expect(some.types()).toEqual(['charge.succeeded'])
  expect(none.types()).toEqual([])
  expect(control.events({ account, type: 'charge.succeeded' })).toMatchObject([
    { pending_webhooks: 0 },
  ])
})

it('sends no events of other accounts', async () => {
  const { control, receiver, withKey } = await startWithReceiver()
  await withKey('sk_test_other').customers.create({})
  await control.waitForDeliveries()
  expect(receiver.received).toEqual([])
})

it('retries with exponential back-off until the receiver answers with 2xx', async () => {
  const { stripe, control, receiver, account } = await startWithReceiver()
  receiver.answerWith(500, 302, 404)
  await stripe.customers.create({})
  await control.waitForDeliveries()
  expect(new Set(receiver.received.map(({ event }) => event.id)).size).toBe(1)
  const [delivery] = control.deliveries()
  expect(delivery).toMatchObject({ state: 'delivered', nextAttemptAt: null })
  expect(delivery?.attempts.map(({ status, error }) => [status, error])).toEqual([
    [500, 'HTTP 500'],
    [302, 'HTTP 302'],
    [404, 'HTTP 404'],
    [200, null],
  ])
  expect(delivery?.attempts[0]?.response).toBe('noted')
  expect(control.events({ account })).toMatchObject([{ pending_webhooks: 0 }])
})

it('retries by the fake’s clock, so that a test does not wait for days', async () => {
  const { stripe, control, receiver } = await startWithReceiver({
    webhooks: { retryBaseMs: 60 * 60 * 1000 },
  })
  receiver.answerWith(500)
  await stripe.customers.create({})
  await expect.poll(() => control.deliveries()[0]?.nextAttemptAt).not.toBeNull()
  control.clock.advance(60 * 60)
  await control.waitForDeliveries()
  expect(control.deliveries()).toMatchObject([{ state: 'delivered' }])
})

it('stops after the last attempt and leaves the event pending', async () => {
  const { stripe, control, receiver, account } = await startWithReceiver({
    webhooks: { retryBaseMs: 5, maxAttempts: 3 },
  })
  receiver.answerWith(500, 500, 500)
  await stripe.customers.create({})
  await control.waitForDeliveries()
  expect(receiver.received).toHaveLength(3)
  expect(control.deliveries()).toMatchObject([{ state: 'failed' }])
  expect(control.events({ account })).toMatchObject([{ pending_webhooks: 1 }])
})

it('treats a timeout and a refused connection as failures', async () => {
  const { stripe, control, receiver, account } = await startWithReceiver({
    webhooks: { timeoutMs: 2000, retryBaseMs: 5, maxAttempts: 2 },
  })
  control.addWebhookEndpoint({ account, url: 'http://127.0.0.1:1/' })
  receiver.answerWith('hang')
  await stripe.customers.create({})
  await control.waitForDeliveries()
  const [slow, closed] = control.deliveries()
  expect(slow?.attempts).toMatchObject([{ status: null }, { status: 200 }])
  expect(slow?.attempts[0]?.error).toMatch(/timeout/)
  expect(closed).toMatchObject({ state: 'failed', attempts: [{ status: null }, { status: null }] })
  expect(closed?.attempts[0]?.error).toMatch(/ECONNREFUSED/)
})

it('lists the open deliveries when waiting takes too long', async () => {
  const { stripe, control, receiver } = await startWithReceiver({ webhooks: { timeoutMs: 60_000 } })
  receiver.answerWith('hang')
  await stripe.customers.create({})
  await expect(control.waitForDeliveries({ timeoutMs: 50 })).rejects.toThrow(
    /customer\.created evt_1\w+ after 0 attempts/,
  )
})

it('sends duplicates', async () => {
  const { stripe, control, receiver } = await startWithReceiver()
  control.injectWebhookFault({
    kind: 'duplicate',
    copies: 3,
    types: ['customer.created'],
    times: 1,
  })
  await stripe.customers.create({})
  await stripe.customers.create({})
  await control.waitForDeliveries()
  const ids = receiver.received.map(({ event }) => event.id)
  expect(ids).toHaveLength(4)
  expect(new Set(ids).size).toBe(2)
  expect(control.faults().webhooks).toEqual([])
})

it('reorders: the events of a payment arrive newest first', async () => {
  const { stripe, control, receiver } = await startWithReceiver()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.injectWebhookFault({ kind: 'reorder', window: 4 })
  control.pay(id)
  await control.waitForDeliveries()
  expect(receiver.types()).toEqual([
    'checkout.session.completed',
    'payment_intent.succeeded',
    'charge.succeeded',
    'payment_intent.created',
  ])
})

it('reorders: a single event is sent after a delay', async () => {
  const { stripe, control, receiver } = await startWithReceiver()
  control.injectWebhookFault({ kind: 'reorder', window: 10, ms: 20 })
  await stripe.customers.create({})
  await control.waitForDeliveries()
  expect(receiver.received).toHaveLength(1)
})

it('sends late', async () => {
  const { stripe, control, receiver } = await startWithReceiver()
  control.injectWebhookFault({ kind: 'delay', ms: 3_600_000, times: 1 })
  await stripe.customers.create({ name: 'late' })
  await stripe.customers.create({ name: 'early' })
  await expect.poll(() => receiver.received).toHaveLength(1)
  expect(receiver.received[0]?.event.data.object).toMatchObject({ name: 'early' })
  control.clock.advance(3600)
  await control.waitForDeliveries()
  expect(receiver.received[1]?.event.data.object).toMatchObject({ name: 'late' })
})

it('drops, until the event is resent manually', async () => {
  const { stripe, control, receiver, account } = await startWithReceiver()
  control.injectWebhookFault({ kind: 'drop', types: ['customer.*'] })
  await stripe.customers.create({})
  await control.waitForDeliveries()
  expect(receiver.received).toEqual([])
  const [event] = control.events({ account })
  expect(event?.pending_webhooks).toBe(1)
  await control.deliver(event?.id ?? '')
  expect(receiver.types()).toEqual(['customer.created'])
  expect(control.events({ account })).toMatchObject([{ pending_webhooks: 0 }])
  expect(control.deliveries()).toMatchObject([{ state: 'delivered', attempts: [{ byHand: true }] }])
})

it('holds events while paused and sends them manually in any order', async () => {
  const { stripe, control, receiver, account } = await startWithReceiver()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pause()
  control.pay(id)
  await control.waitForDeliveries()
  expect(receiver.received).toEqual([])
  const ids = control.events({ account }).map((event) => event.id)
  const done = await control.deliverInOrder(ids.toReversed().slice(0, 3))
  expect(done.map(({ state }) => state)).toEqual(['delivered', 'delivered', 'delivered'])
  expect(receiver.types()).toEqual([
    'checkout.session.completed',
    'payment_intent.succeeded',
    'charge.succeeded',
  ])
  control.resume()
  await control.waitForDeliveries()
  expect(receiver.types().slice(3)).toEqual(['payment_intent.created'])
})

it('resends an event any number of times', async () => {
  const { stripe, control, receiver, account } = await startWithReceiver()
  await stripe.customers.create({})
  await control.waitForDeliveries()
  const [event] = control.events({ account })
  await control.deliver(event?.id ?? '')
  await control.deliver(event?.id ?? '')
  expect(receiver.received.map(({ event: { id } }) => id)).toEqual([
    event?.id,
    event?.id,
    event?.id,
  ])
})

it('sends an old event to an endpoint that was added later', async () => {
  const { stripe, control, account } = await startFake()
  await stripe.customers.create({})
  const receiver = await startReceiver()
  control.addWebhookEndpoint({ account, url: receiver.url })
  const [event] = control.events({ account })
  await control.deliver(event?.id ?? '')
  expect(receiver.types()).toEqual(['customer.created'])
})

it('shows an endpoint’s secret once, lists, changes and deletes it', async () => {
  const { stripe } = await startFake()
  const created = await stripe.webhookEndpoints.create({
    url: 'http://127.0.0.1:9/hook',
    enabled_events: ['charge.refunded', 'refund.created'],
    description: 'Vouchers',
    api_version: '2026-10-28.endive',
    metadata: { conference: 'conf_1' },
  })
  expect(created.secret).toMatch(/^whsec_\w{32}$/)
  expect(created).toMatchObject({ status: 'enabled', api_version: '2026-10-28.endive' })
  const { id } = created
  const read = await stripe.webhookEndpoints.retrieve(id)
  expect(read).toMatchObject({ description: 'Vouchers', metadata: { conference: 'conf_1' } })
  expect(read).not.toHaveProperty('secret')
  const changed = await stripe.webhookEndpoints.update(id, {
    disabled: true,
    enabled_events: ['*'],
  })
  expect(changed).toMatchObject({ status: 'disabled', enabled_events: ['*'] })
  expect((await stripe.webhookEndpoints.list()).data.map((endpoint) => endpoint.id)).toEqual([id])
  expect(await stripe.webhookEndpoints.del(id)).toMatchObject({ id, deleted: true })
  expect((await stripe.webhookEndpoints.list()).data).toEqual([])
  expect(await refusal(stripe.webhookEndpoints.retrieve(id))).toMatchObject({ statusCode: 404 })
})

it('accepts 16 endpoints, and only https in live mode', async () => {
  const { stripe, withKey } = await startFake()
  const params = { url: 'http://127.0.0.1:9/', enabled_events: ['*' as const] }
  for (let i = 0; i < 16; i++) await stripe.webhookEndpoints.create(params)
  expect((await refusal(stripe.webhookEndpoints.create(params))).message).toMatch(/maximum of 16/)
  const live = await refusal(withKey('sk_live_abcdef').webhookEndpoints.create(params))
  expect(live).toMatchObject({ code: 'url_invalid', param: 'url' })
})

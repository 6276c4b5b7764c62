import { expect, it } from 'vitest'
import { idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'
import { startReceiver } from './webhook-receiver.ts'

const DAY = 24 * 60 * 60

it('keeps the object as it was when the event was sent', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const intent = idOf(control.pay(id).payment_intent)
  await stripe.refunds.create({ payment_intent: intent, amount: 100 })
  await stripe.refunds.create({ payment_intent: intent, amount: 200 })
  const refunded = control.events({ account, type: 'charge.refunded' })
  expect(refunded.map(({ data }) => data)).toMatchObject([
    { object: { amount_refunded: 100 }, previous_attributes: { amount_refunded: 0 } },
    { object: { amount_refunded: 300 }, previous_attributes: { amount_refunded: 100 } },
  ])
  const [created] = control.events({ account, type: 'payment_intent.created' })
  expect(created?.data.object).toMatchObject({ status: 'requires_payment_method' })
})

it('lists events by type, by several types and by time', async () => {
  const { stripe, control } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.clock.advance(10)
  const since = Math.floor(control.clock.now().getTime() / 1000)
  control.pay(id)
  const types = async (params: Parameters<typeof stripe.events.list>[0]) =>
    (await stripe.events.list(params)).data.map(({ type }) => type)
  expect(await types({ created: { gte: since } })).toEqual([
    'checkout.session.completed',
    'payment_intent.succeeded',
    'charge.succeeded',
    'payment_intent.created',
  ])
  expect(await types({ created: { lt: since } })).toEqual([])
  expect(await types({ type: 'charge.succeeded' })).toEqual(['charge.succeeded'])
  expect(await types({ type: 'payment_intent.*' })).toHaveLength(2)
  expect(await types({ types: ['charge.succeeded', 'payment_intent.created'] })).toEqual([
    'charge.succeeded',
    'payment_intent.created',
  ])
})

it('lists the events since a known one, as recovery after an outage does', async () => {
  const { stripe } = await startFake()
  for (let i = 0; i < 5; i++) await stripe.customers.create({})
  const all = await stripe.events.list()
  const known = all.data[4]?.id ?? ''
  const missed = await stripe.events
    .list({ ending_before: known, limit: 2 })
    .autoPagingToArray({ limit: 100 })
  expect(missed.map(({ id }) => id).toSorted()).toEqual(
    all.data
      .slice(0, 4)
      .map(({ id }) => id)
      .toSorted(),
  )
})

it('retrieves one event and refuses invalid filters', async () => {
  const { stripe } = await startFake()
  await stripe.customers.create({})
  const [event] = (await stripe.events.list()).data
  const again = await stripe.events.retrieve(event?.id ?? '')
  expect(again).toMatchObject({ type: 'customer.created', api_version: '2026-10-28.endive' })
  expect(await refusal(stripe.events.retrieve('evt_none'))).toMatchObject({ statusCode: 404 })
  const both = stripe.events.list({ type: 'charge.succeeded', types: ['charge.failed'] })
  expect(await refusal(both)).toMatchObject({ code: 'parameters_exclusive' })
  const many = stripe.events.list({ types: Array.from({ length: 21 }, () => 'charge.failed') })
  expect(await refusal(many)).toMatchObject({ param: 'types' })
})

it('lists the events of the last 30 days', async () => {
  const { stripe, control } = await startFake()
  await stripe.customers.create({})
  control.clock.advance(29 * DAY)
  expect((await stripe.events.list()).data).toHaveLength(1)
  control.clock.advance(2 * DAY)
  expect((await stripe.events.list()).data).toHaveLength(0)
})

it('distinguishes delivered and undelivered events', async () => {
  const { stripe, control, account } = await startFake()
  const receiver = await startReceiver()
  control.addWebhookEndpoint({ account, url: receiver.url })
  control.injectWebhookFault({ kind: 'drop', times: 1 })
  await stripe.customers.create({ name: 'lost' })
  await stripe.customers.create({ name: 'delivered' })
  await control.waitForDeliveries()
  const names = async (delivery_success: boolean) =>
    (await stripe.events.list({ delivery_success })).data.map(({ data }) => data.object)
  expect(await names(false)).toMatchObject([{ name: 'lost' }])
  expect(await names(true)).toMatchObject([{ name: 'delivered' }])
})

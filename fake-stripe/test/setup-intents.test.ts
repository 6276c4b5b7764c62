import { expect, it } from 'vitest'
import { refusal, startFake } from './fake-under-test.ts'

it('saves a card with the customer when its setup is confirmed', async () => {
  const { stripe, control, account } = await startFake()
  const { id: customer } = await stripe.customers.create({})
  const created = await stripe.setupIntents.create({ customer, metadata: { a: '1' } })
  expect(created).toMatchObject({
    status: 'requires_payment_method',
    usage: 'off_session',
    customer,
    metadata: { a: '1' },
  })
  const confirmed = await stripe.setupIntents.confirm(created.id, {
    payment_method: 'pm_card_visa',
    expand: ['payment_method'],
  })
  expect(confirmed).toMatchObject({ status: 'succeeded', payment_method: { customer } })
  expect(control.events({ account }).map(({ type }) => type)).toEqual([
    'customer.created',
    'setup_intent.created',
    'payment_method.attached',
    'setup_intent.succeeded',
  ])
  const again = stripe.setupIntents.confirm(created.id, { payment_method: 'pm_card_visa' })
  expect(await refusal(again)).toMatchObject({ code: 'setup_intent_unexpected_state' })
})

it('sends an event for a declined card and accepts another card', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.setupIntents.create({ usage: 'on_session' })
  const declined = stripe.setupIntents.confirm(id, { payment_method: 'pm_card_chargeDeclined' })
  expect(await refusal(declined)).toMatchObject({
    statusCode: 402,
    code: 'card_declined',
    setup_intent: { id, status: 'requires_payment_method' },
  })
  const failed = await stripe.setupIntents.retrieve(id)
  expect(failed.last_setup_error).toMatchObject({ code: 'card_declined', type: 'card_error' })
  expect(control.events({ account, type: 'setup_intent.setup_failed' })).toHaveLength(1)
  const missing = stripe.setupIntents.confirm(id)
  expect((await refusal(missing)).message).toMatch(/missing a payment method/)
  await stripe.setupIntents.update(id, { payment_method: 'pm_card_visa' })
  const confirmed = await stripe.setupIntents.confirm(id)
  expect(confirmed).toMatchObject({ status: 'succeeded', last_setup_error: null })
})

it.each([
  ['passed', 'succeeded', 'setup_intent.succeeded'],
  ['failed', 'requires_payment_method', 'setup_intent.setup_failed'],
] as const)('waits for the authentication, which is %s', async (outcome, status, event) => {
  const { stripe, control, account } = await startFake()
  const waiting = await stripe.setupIntents.create({
    payment_method: 'pm_card_authenticationRequired',
    confirm: true,
  })
  expect(waiting).toMatchObject({
    status: 'requires_action',
    next_action: { type: 'use_stripe_sdk' },
  })
  control.authenticate(waiting.id, outcome)
  const after = await stripe.setupIntents.retrieve(waiting.id)
  expect(after).toMatchObject({ status, next_action: null })
  expect(control.events({ account, type: event })).toHaveLength(1)
  expect(() => control.authenticate(waiting.id)).toThrow(/waits for no authentication/)
})

it('cancels a setup for good', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.setupIntents.create()
  const canceled = await stripe.setupIntents.cancel(id, { cancellation_reason: 'abandoned' })
  expect(canceled).toMatchObject({ status: 'canceled', cancellation_reason: 'abandoned' })
  expect(control.events({ account, type: 'setup_intent.canceled' })).toHaveLength(1)
  for (const call of [stripe.setupIntents.cancel(id), stripe.setupIntents.confirm(id)])
    expect(await refusal(call)).toMatchObject({ code: 'setup_intent_unexpected_state' })
})

it('lists by customer, payment method and time', async () => {
  const { stripe, control } = await startFake()
  const { id: customer } = await stripe.customers.create({})
  const mine = await stripe.setupIntents.create({ customer, payment_method: 'pm_card_visa' })
  control.clock.advance(100)
  const later = await stripe.setupIntents.create()
  const ids = async (params: object) =>
    (await stripe.setupIntents.list(params)).data.map(({ id }) => id)
  expect(await ids({})).toEqual([later.id, mine.id])
  expect(await ids({ customer })).toEqual([mine.id])
  expect(await ids({ payment_method: mine.payment_method })).toEqual([mine.id])
  expect(await ids({ created: { gt: mine.created } })).toEqual([later.id])
})
